//! What holds for endpoints, whatever is typed. The fuzz target runs it without end, a test of `byron` for a moment.

use byron::endpoint::{
    ENDPOINT_BYTES_MAX, parse_connect, parse_listen, parse_poem_argument, parse_target,
};

/// However long the input: a message is a line that a person reads.
const MESSAGE_BYTES_MAX: usize = 1000;

/// Fails if something does not hold.
pub(crate) fn check(data: &[u8]) {
    let Ok(input) = std::str::from_utf8(data) else {
        return;
    };
    let columns = input.chars().count() + 1;
    match parse_listen(input) {
        Ok(endpoint) => {
            let written = endpoint.to_string();
            // What had to be escaped may make it longer than what is read.
            if written.len() <= ENDPOINT_BYTES_MAX {
                assert_eq!(parse_listen(&written), Ok(endpoint));
            }
        }
        Err(error) => {
            assert!(
                error
                    .column()
                    .is_none_or(|column| (1..=columns).contains(&column))
            );
            assert!(error.to_string().len() < MESSAGE_BYTES_MAX);
        }
    }
    match parse_connect(input) {
        Ok(endpoint) => {
            let written = endpoint.to_string();
            if written.len() <= ENDPOINT_BYTES_MAX {
                assert_eq!(parse_connect(&written), Ok(endpoint));
            }
        }
        Err(error) => {
            assert!(
                error
                    .column()
                    .is_none_or(|column| (1..=columns).contains(&column))
            );
            assert!(error.to_string().len() < MESSAGE_BYTES_MAX);
        }
    }
    if let Ok(target) = parse_target(input) {
        let name = target.file_name();
        assert!(!name.contains('/') && !name.is_empty(), "{name}");
    }
    let _ = parse_poem_argument(input.as_ref());
}
