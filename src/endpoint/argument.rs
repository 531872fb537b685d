//! The two arguments that hold an endpoint: `TARGET[=NAME]` of `get` and `POEM[@ENDPOINT]` of `serve`.
//!
//! - `lib:ENDPOINT/TITLE` is one poem of a library, cut at its last `/`; its title is its name.
//! - `TARGET[=NAME]` is an endpoint as a whole, if it can be; otherwise it is cut at the first `=` that leaves an endpoint
//!   on its left, so the `=` of `tcp:host=donne.example:port=80` stay where they belong. The path of a Unix socket may
//!   contain one, so there a name needs a key before it: `unix:/run/p.sock:timeout=5=donne`.
//! - `POEM[@ENDPOINT]` is cut at the first `@` that is followed by a scheme (`@unix:…`), or else at its last `@`, if what
//!   follows has no `/` and either begins with a digit or contains a colon. Everything else belongs to the path, which
//!   may contain `=` and `@`. A file that still looks like more than a path (`notes@2024.txt`) is written with an
//!   endpoint: `notes@2024.txt@0`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use thiserror::Error;

use byron_actors::UnixAddress;

use super::parse::has_scheme;
use super::{
    ConnectEndpoint, ConnectPlace, ListenEndpoint, ParseEndpointError, parse_connect, parse_listen,
};
use crate::quantity::quoted;

/// The longest name of a file on every system of today.
const NAME_BYTES_MAX: usize = 255;

/// A server to get a poem from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it is.
    pub endpoint: ConnectEndpoint,
    /// The poem that is asked for there, if it is a library.
    pub title: Option<String>,
    /// What to call the poem, in messages and as a file.
    pub name: Option<String>,
}

/// A poem to serve, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoemArgument {
    /// The poem.
    pub source: PoemSource,
    /// Where to serve it, if the argument says so.
    pub endpoint: Option<ListenEndpoint>,
}

/// Where the text of a poem comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PoemSource {
    /// Standard input, written `-`.
    Stdin,
    /// A file.
    File(PathBuf),
}

/// Why a text is no `TARGET[=NAME]`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseTargetError {
    /// The endpoint is wrong.
    #[error(transparent)]
    Endpoint(ParseEndpointError),
    /// No poem of a library is named.
    #[error("invalid target {}: {problem}; expected lib:PORT/TITLE or lib:HOST:PORT/TITLE", quoted(.input))]
    Library {
        /// The whole target.
        input: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The name cannot be the name of a file.
    #[error("invalid name {} for {endpoint}: {problem}; a name is also the name of a file", quoted(.name))]
    Name {
        /// The target that was to have the name.
        endpoint: String,
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Why a text is no `POEM[@ENDPOINT]`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParsePoemArgumentError {
    /// Nothing before the `@`, or nothing at all.
    #[error("invalid poem {}: no file; expected POEM or POEM@ENDPOINT such as poetry/ecstasy.txt@10000", quoted(.0))]
    Empty(String),
    /// What follows the `@` looks like an endpoint but is none.
    #[error("{error}; for a file of that name say {}@0", .argument)]
    Endpoint {
        /// What is wrong with the endpoint.
        error: ParseEndpointError,
        /// The whole argument.
        argument: String,
    },
}

/// Reads `TARGET[=NAME]`.
///
/// ```
/// # use byron::endpoint::parse_target;
/// let target = parse_target("tcp:host=donne.example:port=80=ecstasy").unwrap();
/// assert_eq!(target.label(), "donne.example:80");
/// assert_eq!(target.name.as_deref(), Some("ecstasy"));
/// ```
pub fn parse_target(input: &str) -> Result<Target, ParseTargetError> {
    if let Some(library) = input.strip_prefix("lib:") {
        return parse_library_target(input, library);
    }
    let whole_error = match parse_connect(input) {
        Ok(endpoint) => {
            return Ok(Target {
                endpoint,
                title: None,
                name: None,
            });
        }
        Err(error) => error,
    };
    for (equals, _) in input.match_indices('=') {
        let Ok(endpoint) = parse_connect(&input[..equals]) else {
            continue;
        };
        let name = &input[equals + 1..];
        if let Some(problem) = problem_of_name(name) {
            let endpoint = input[..equals].to_owned();
            return Err(ParseTargetError::Name {
                endpoint,
                name: name.to_owned(),
                problem,
            });
        }
        return Ok(Target {
            endpoint,
            title: None,
            name: Some(name.to_owned()),
        });
    }
    // For `1000x=donne` the mistake is in `1000x`; the keys of `tcp:` have equals signs of their own.
    let before_name = input
        .split_once('=')
        .map(|(target, _)| target)
        .filter(|target| !target.contains(':'));
    let error = before_name
        .and_then(|target| parse_connect(target).err())
        .unwrap_or(whole_error);
    Err(ParseTargetError::Endpoint(error))
}

/// Reads what follows `lib:`.
fn parse_library_target(input: &str, library: &str) -> Result<Target, ParseTargetError> {
    let wrong = |problem| ParseTargetError::Library {
        input: input.to_owned(),
        problem,
    };
    let (endpoint, title) = library.rsplit_once('/').ok_or_else(|| wrong("no title"))?;
    if let Some(problem) = problem_of_name(title) {
        return Err(wrong(match problem {
            "empty" => "no title",
            problem => problem,
        }));
    }
    Ok(Target {
        endpoint: parse_connect(endpoint).map_err(ParseTargetError::Endpoint)?,
        title: Some(title.to_owned()),
        name: None,
    })
}

/// Reads `POEM[@ENDPOINT]`; the path need not be Unicode.
///
/// ```
/// # use byron::endpoint::{PoemSource, parse_poem_argument};
/// let argument = parse_poem_argument("poetry/ecstasy.txt@10000".as_ref()).unwrap();
/// assert_eq!(argument.source, PoemSource::File("poetry/ecstasy.txt".into()));
/// assert_eq!(argument.endpoint.unwrap().to_string(), "localhost:10000");
/// ```
pub fn parse_poem_argument(input: &OsStr) -> Result<PoemArgument, ParsePoemArgumentError> {
    let shown = || input.to_string_lossy().into_owned();
    let (path, endpoint) = match split_at_endpoint(input) {
        Some((path, endpoint)) => {
            let endpoint =
                parse_listen(&endpoint).map_err(|error| ParsePoemArgumentError::Endpoint {
                    error,
                    argument: shown(),
                })?;
            (path, Some(endpoint))
        }
        None => (input.to_owned(), None),
    };
    let source = match path.to_str() {
        Some("") => return Err(ParsePoemArgumentError::Empty(shown())),
        Some("-") => PoemSource::Stdin,
        _ => PoemSource::File(PathBuf::from(path)),
    };
    Ok(PoemArgument { source, endpoint })
}

impl Target {
    /// The target as people see it in messages: `127.0.0.1:10001`.
    pub fn label(&self) -> String {
        match &self.title {
            Some(title) => format!("lib:{}/{title}", self.endpoint.label()),
            None => self.endpoint.label(),
        }
    }

    /// What prefixes the lines of this poem among those of others: its name, or `10001`.
    pub fn short_label(&self) -> String {
        let name = self.name.as_ref().or(self.title.as_ref());
        name.cloned().unwrap_or_else(|| self.endpoint.short_label())
    }

    /// The file that holds the poem in a directory of poems: its name, or `127.0.0.1-10001.txt`.
    pub fn file_name(&self) -> String {
        if let Some(name) = self.name.as_ref().or(self.title.as_ref()) {
            return name.clone();
        }
        let stem = match &self.endpoint.place {
            ConnectPlace::Tcp { .. } => self.endpoint.label(),
            ConnectPlace::Unix(UnixAddress::Path(path)) => path.file_stem().map_or_else(
                || "unix".to_owned(),
                |stem| stem.to_string_lossy().into_owned(),
            ),
            ConnectPlace::Unix(UnixAddress::Abstract(name)) => {
                String::from_utf8_lossy(name).into_owned()
            }
        };
        let stem = stem.replace(['[', ']'], "").replace([':', '/'], "-");
        format!("{stem}.txt")
    }
}

fn problem_of_name(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("empty"),
        "." | ".." => Some("a directory"),
        _ if name.contains('/') => Some("a slash in it"),
        _ if name.chars().any(char::is_control) => Some("a control character in it"),
        _ if name.len() > NAME_BYTES_MAX => Some("longer than 255 bytes"),
        _ => None,
    }
}

/// The path and the endpoint, if the text after an `@` looks like one.
fn split_at_endpoint(input: &OsStr) -> Option<(OsString, String)> {
    let bytes = input.as_encoded_bytes();
    let after = |at: usize| std::str::from_utf8(&bytes[at + 1..]).ok();
    let mut ats = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'@');
    let scheme = ats.find_map(|(at, _)| Some((at, after(at).filter(|rest| has_scheme(rest))?)));
    if let Some((at, endpoint)) = scheme {
        return Some((os_string(&bytes[..at])?, endpoint.to_owned()));
    }
    let at = bytes.iter().rposition(|byte| *byte == b'@')?;
    let endpoint = after(at)?;
    let looks_like_one =
        endpoint.starts_with(|letter: char| letter.is_ascii_digit()) || endpoint.contains(':');
    if !looks_like_one || endpoint.contains('/') {
        return None;
    }
    Some((os_string(&bytes[..at])?, endpoint.to_owned()))
}

#[cfg(unix)]
fn os_string(bytes: &[u8]) -> Option<OsString> {
    use std::os::unix::ffi::OsStrExt;
    Some(OsStr::from_bytes(bytes).to_owned())
}

#[cfg(not(unix))]
fn os_string(bytes: &[u8]) -> Option<OsString> {
    std::str::from_utf8(bytes).ok().map(OsString::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_poem_of_a_library_is_named_by_its_title() {
        let target = parse_target("lib:10000/ecstasy.txt").unwrap();
        assert_eq!(target.label(), "lib:127.0.0.1:10000/ecstasy.txt");
        assert_eq!(target.short_label(), "ecstasy.txt");
        assert_eq!(target.file_name(), "ecstasy.txt");
        let target = parse_target("lib:donne.example:1/a=b").unwrap();
        assert_eq!(target.title.as_deref(), Some("a=b"));
        for (input, problem) in [
            ("lib:10000", "no title"),
            ("lib:10000/", "no title"),
            ("lib:10000/..", "a directory"),
            ("lib:10000/a\nb", "a control character in it"),
        ] {
            let expected = format!(
                "invalid target {}: {problem}; expected lib:PORT/TITLE or lib:HOST:PORT/TITLE",
                quoted(input)
            );
            assert_eq!(parse_target(input).unwrap_err().to_string(), expected);
        }
        assert!(
            parse_target("lib:0/x")
                .unwrap_err()
                .to_string()
                .contains("port 0")
        );
    }

    #[test]
    fn a_target_may_have_a_name() {
        for (input, label, name) in [
            ("10001", "127.0.0.1:10001", None),
            ("10001=donne", "127.0.0.1:10001", Some("donne")),
            ("10001=a=b", "127.0.0.1:10001", Some("a=b")),
            ("[::1]:80=x.txt", "[::1]:80", Some("x.txt")),
            ("tcp:host=a:port=80", "a:80", None),
            ("tcp:host=a:port=80=x", "a:80", Some("x")),
            ("tcp:10000:timeout=15=x", "127.0.0.1:10000", Some("x")),
            ("tcp:10000:timeout=15", "127.0.0.1:10000", None),
        ] {
            let target = parse_target(input).unwrap();
            assert_eq!(
                (target.label().as_str(), target.name.as_deref()),
                (label, name),
                "{input}"
            );
        }
    }

    #[test]
    fn a_mistake_before_the_name_is_the_one_reported() {
        for (input, message) in [
            (
                "1000x=donne",
                "invalid target \"1000x\": not a digit at column 5; expected PORT, HOST:PORT or an endpoint such as unix:/run/p.sock",
            ),
            (
                "10001=",
                "invalid name \"\" for 10001: empty; a name is also the name of a file",
            ),
            (
                "10001=../x",
                "invalid name \"../x\" for 10001: a slash in it; a name is also the name of a file",
            ),
            (
                "tcp:host=a:prot=80",
                "invalid target \"tcp:host=a:prot=80\": unknown key \"prot\" at column 12; did you mean port=",
            ),
        ] {
            assert_eq!(parse_target(input).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn files_are_named_after_the_poem_or_its_server() {
        for (input, file_name) in [
            ("10001", "127.0.0.1-10001.txt"),
            ("[::1]:80", "--1-80.txt"),
            ("unix:/run/byron/ecstasy.sock", "ecstasy.txt"),
            ("unix:@a/b", "a-b.txt"),
            ("tls:donne.example:80", "tls-donne.example-80.txt"),
            ("donne.example:80", "donne.example-80.txt"),
            ("80=ecstasy.txt", "ecstasy.txt"),
        ] {
            assert_eq!(parse_target(input).unwrap().file_name(), file_name);
        }
    }

    #[test]
    fn a_poem_is_cut_at_its_last_at_sign_before_an_endpoint() {
        for (input, path, endpoint) in [
            ("ecstasy.txt", "ecstasy.txt", None),
            ("ecstasy.txt@10000", "ecstasy.txt", Some("localhost:10000")),
            ("a@b.txt", "a@b.txt", None),
            ("a@b.txt@0", "a@b.txt", Some("localhost:0")),
            ("x=1@*:80", "x=1", Some("*:80")),
            ("dir@1/poem.txt", "dir@1/poem.txt", None),
            ("p@tcp:1:interface=[::1]", "p", Some("[::1]:1")),
            ("p@unix:/run/p.sock", "p", Some("unix:/run/p.sock")),
            ("p@unix:@p", "p", Some("unix:@p")),
            ("a@b@haproxy:1", "a@b", Some("haproxy:localhost:1")),
            (
                "p@tls:1:cert=/a@b.pem",
                "p",
                Some("tls:1:interface=localhost:cert=/a@b.pem"),
            ),
        ] {
            let argument = parse_poem_argument(input.as_ref()).unwrap();
            assert_eq!(argument.source, PoemSource::File(path.into()), "{input}");
            assert_eq!(
                argument
                    .endpoint
                    .map(|endpoint| endpoint.to_string())
                    .as_deref(),
                endpoint,
                "{input}"
            );
        }
        assert_eq!(
            parse_poem_argument("-@1".as_ref()).unwrap().source,
            PoemSource::Stdin
        );
        assert_eq!(
            parse_poem_argument("notes@2024.txt".as_ref())
                .unwrap_err()
                .to_string(),
            "invalid endpoint \"2024.txt\": no port at column 9; expected PORT, HOST:PORT, *:PORT or an endpoint such as \
             unix:/run/p.sock; for a file of that name say notes@2024.txt@0"
        );
        assert_eq!(
            parse_poem_argument("@10000".as_ref())
                .unwrap_err()
                .to_string(),
            "invalid poem \"@10000\": no file; expected POEM or POEM@ENDPOINT such as poetry/ecstasy.txt@10000"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_path_need_not_be_unicode() {
        use std::os::unix::ffi::OsStrExt;
        let argument = parse_poem_argument(OsStr::from_bytes(b"\xff@1")).unwrap();
        assert_eq!(
            argument.source,
            PoemSource::File(OsStr::from_bytes(b"\xff").into())
        );
    }

    proptest! {
        #[test]
        fn no_argument_panics(input in ".*", nearly in "[a-z0-9@:=]{0,20}") {
            for input in [input, nearly] {
                let _ = (parse_target(&input), parse_poem_argument(input.as_ref()));
            }
        }
    }
}
