//! `NAME[@ENDPOINT]` of `--transform`: a transform of this program, or of a server.
//!
//! It is cut at its first `@`: a name has none. Without an endpoint the name must be one of this program's; what a server has,
//! only the server knows.

use byron_actors::TRANSFORMS;
use thiserror::Error;

use super::error::nearest;
use super::{ConnectEndpoint, ParseEndpointError, parse_connect};
use crate::quantity::quoted;

/// The longest name that is asked for.
const NAME_BYTES_MAX: usize = 64;

/// A transform and who makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransformArgument {
    /// Its name.
    pub name: String,
    /// The server that has it; this program when absent.
    pub endpoint: Option<ConnectEndpoint>,
}

/// Why a text is no `NAME[@ENDPOINT]`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseTransformError {
    /// The endpoint is wrong.
    #[error(transparent)]
    Endpoint(ParseEndpointError),
    /// The name cannot be one.
    #[error("invalid transform {}: {problem}; expected NAME or NAME@ENDPOINT such as cummingsify@11000", quoted(.input))]
    Name {
        /// The whole argument.
        input: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// This program has none of that name.
    #[error("unknown transform {}: {hint}", quoted(.name))]
    Unknown {
        /// The name.
        name: String,
        /// What there is.
        hint: String,
    },
}

/// Reads `NAME[@ENDPOINT]`.
///
/// ```
/// # use byron::endpoint::parse_transform;
/// let transform = parse_transform("cummingsify@11000").unwrap();
/// assert_eq!(transform.label(), "cummingsify@127.0.0.1:11000");
/// assert_eq!(
///     parse_transform("cumingsify").unwrap_err().to_string(),
///     "unknown transform \"cumingsify\": did you mean cummingsify, or NAME@ENDPOINT of a server"
/// );
/// ```
pub fn parse_transform(input: &str) -> Result<TransformArgument, ParseTransformError> {
    let (name, endpoint) = match input.split_once('@') {
        Some((name, endpoint)) => (name, Some(endpoint)),
        None => (input, None),
    };
    if let Some(problem) = problem_of_name(name) {
        return Err(ParseTransformError::Name {
            input: input.to_owned(),
            problem,
        });
    }
    let Some(endpoint) = endpoint else {
        return built_in(name);
    };
    Ok(TransformArgument {
        name: name.to_owned(),
        endpoint: Some(parse_connect(endpoint).map_err(ParseTransformError::Endpoint)?),
    })
}

fn problem_of_name(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("no name"),
        _ if name.contains('.') => Some("a dot in the name, which ends it in a request"),
        _ if name.len() > NAME_BYTES_MAX => Some("a name of more than 64 bytes"),
        _ if !name.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Some("a name has visible ASCII characters only")
        }
        _ => None,
    }
}

fn built_in(name: &str) -> Result<TransformArgument, ParseTransformError> {
    let names: Vec<_> = TRANSFORMS.iter().map(|transform| transform.name).collect();
    if names.contains(&name) {
        return Ok(TransformArgument {
            name: name.to_owned(),
            endpoint: None,
        });
    }
    let hint = match nearest(name, &names) {
        Some(meant) => format!("did you mean {meant}, or NAME@ENDPOINT of a server"),
        None => format!(
            "there are {}; one of a server is NAME@ENDPOINT",
            names.join(", ")
        ),
    };
    Err(ParseTransformError::Unknown {
        name: name.to_owned(),
        hint,
    })
}

impl TransformArgument {
    /// The transform as people see it: `cummingsify`, or `cummingsify@127.0.0.1:11000`.
    pub fn label(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => format!("{}@{}", self.name, endpoint.label()),
            None => self.name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transform_is_of_this_program_or_of_a_server() {
        let parse = |input| {
            parse_transform(input)
                .map(|transform| transform.label())
                .map_err(|error| error.to_string())
        };
        for (input, label) in [
            ("shout", "shout"),
            ("shout@11000", "shout@127.0.0.1:11000"),
            ("anything@donne.example:1", "anything@donne.example:1"),
            ("x@tcp:host=donne.example:port=1", "x@donne.example:1"),
        ] {
            assert_eq!(parse(input).as_deref(), Ok(label));
        }
        for (input, error) in [
            (
                "",
                "invalid transform \"\": no name; expected NAME or NAME@ENDPOINT such as cummingsify@11000",
            ),
            (
                "@1",
                "invalid transform \"@1\": no name; expected NAME or NAME@ENDPOINT such as cummingsify@11000",
            ),
            (
                "a.b@1",
                "invalid transform \"a.b@1\": a dot in the name, which ends it in a request; expected NAME or NAME@ENDPOINT such as cummingsify@11000",
            ),
            (
                "shuot",
                "unknown transform \"shuot\": did you mean shout, or NAME@ENDPOINT of a server",
            ),
            (
                "translate",
                "unknown transform \"translate\": there are cummingsify, byronify, lines, reverse, shout; one of a server is NAME@ENDPOINT",
            ),
        ] {
            assert_eq!(parse(input).unwrap_err(), error);
        }
        assert!(parse("shout@0").unwrap_err().contains("port 0"));
    }
}
