//! The argument of `proxy`: `[LOCAL=]UPSTREAM`.
//!
//! It is cut at the first `=` that leaves an endpoint to listen on at its left and one to connect to at its right, so the `=`
//! of `tcp:host=donne.example:port=80` stay where they belong. If there is none, it is an upstream as a whole.

use super::{ConnectEndpoint, ListenEndpoint, ParseEndpointError, parse_connect, parse_listen};

/// A server whose poem is served elsewhere, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamArgument {
    /// Where the poem is served, if the argument says so.
    pub local: Option<ListenEndpoint>,
    /// Where it comes from.
    pub upstream: ConnectEndpoint,
}

/// Reads `[LOCAL=]UPSTREAM`.
///
/// ```
/// # use byron::endpoint::parse_upstream_argument;
/// let argument = parse_upstream_argument("10010=tcp:host=donne.example:port=80").unwrap();
/// assert_eq!(argument.local.unwrap().to_string(), "localhost:10010");
/// assert_eq!(argument.upstream.label(), "donne.example:80");
/// ```
pub fn parse_upstream_argument(input: &str) -> Result<UpstreamArgument, ParseEndpointError> {
    for (equals, _) in input.match_indices('=') {
        let sides = (
            parse_listen(&input[..equals]),
            parse_connect(&input[equals + 1..]),
        );
        if let (Ok(local), Ok(upstream)) = sides {
            return Ok(UpstreamArgument {
                local: Some(local),
                upstream,
            });
        }
    }
    let whole = parse_connect(input);
    // For `10010=1000x` the mistake is on the right, for `1001x=10000` on the left; the keys of an endpoint have equals
    // signs of their own.
    if let (Err(_), Some((local, upstream))) = (&whole, input.split_once('='))
        && !local.contains(':')
    {
        parse_listen(local)?;
        parse_connect(upstream)?;
    }
    whole.map(|upstream| UpstreamArgument {
        local: None,
        upstream,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &str) -> (Option<String>, String) {
        let UpstreamArgument { local, upstream } = parse_upstream_argument(input).unwrap();
        (local.map(|local| local.to_string()), upstream.label())
    }

    #[test]
    fn the_equals_sign_that_leaves_an_endpoint_on_both_sides_parts_them() {
        for (input, local, upstream) in [
            ("10000", None, "127.0.0.1:10000"),
            ("donne.example:80", None, "donne.example:80"),
            ("10010=10000", Some("localhost:10010"), "127.0.0.1:10000"),
            ("*:80=donne.example:80", Some("*:80"), "donne.example:80"),
            ("[::1]:1=[::1]:2", Some("[::1]:1"), "[::1]:2"),
            ("tcp:host=donne.example:port=80", None, "donne.example:80"),
            (
                "10010=tcp:host=donne.example:port=80",
                Some("localhost:10010"),
                "donne.example:80",
            ),
            (
                "tcp:10010:interface=127.0.0.1=10000",
                Some("127.0.0.1:10010"),
                "127.0.0.1:10000",
            ),
        ] {
            let (heard_local, heard_upstream) = read(input);
            assert_eq!(heard_local.as_deref(), local, "{input}");
            assert_eq!(heard_upstream, upstream, "{input}");
        }
    }

    #[test]
    fn a_mistake_is_looked_for_on_the_side_where_it_is() {
        for (input, message) in [
            ("1000x", "invalid target \"1000x\": not a digit at column 5"),
            (
                "10010=1000x",
                "invalid target \"1000x\": not a digit at column 5",
            ),
            ("1001x=10000", "\"1001x\": not a digit at column 5"),
            ("10010=", "empty"),
        ] {
            let error = parse_upstream_argument(input).unwrap_err().to_string();
            assert!(error.contains(message), "{input}: {error}");
        }
    }
}
