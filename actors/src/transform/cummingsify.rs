//! `cummingsify`: lower case, the way e. e. cummings is remembered.
//!
//! Unicode's lower case, with its special cases (a capital sigma at the end of a word, say). Bytes that are no UTF-8 stay
//! as they are: the tutorial's poems are bytes, and a poem in Latin-1 is not worse for it. Nothing is gibberish.

use super::{Transform, map_text};

pub(super) const TRANSFORM: Transform = Transform {
    name: "cummingsify",
    about: "lower case, the way e. e. cummings is remembered",
    engine: |poem| {
        Ok(if poem.is_ascii() {
            // By far faster, and what most poems are.
            poem.to_ascii_lowercase()
        } else {
            map_text(poem, str::to_lowercase)
        })
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    fn cummingsify(poem: &[u8]) -> Vec<u8> {
        TRANSFORM.apply(poem).unwrap().into()
    }

    #[test]
    fn the_tutorials_poem_is_the_tutorials_answer() {
        assert_eq!(cummingsify(b"HERE IS MY POEM"), b"here is my poem");
    }

    #[test]
    fn every_script_has_its_lower_case() {
        let greek = cummingsify("ΠΟΙΗΤΗΣ ÄÖÜ ЗИМА 詩".as_bytes());
        assert_eq!(greek, "ποιητης äöü зима 詩".as_bytes());
    }

    #[test]
    fn bytes_that_are_no_text_stay() {
        assert_eq!(cummingsify(b"CAF\xc9 \xff\0END"), b"caf\xc9 \xff\0end");
    }
}
