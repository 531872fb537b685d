//! What holds for a proxy's header, whatever it says. The fuzz target runs it without end, a test of `byron` for a moment.

use byron_actors::{PROXY_HEADER_BYTES_MAX, ReadHeader, read_proxy_header};

/// Fails if something does not hold.
pub(crate) fn check(said: &[u8]) {
    match read_proxy_header(said) {
        Ok(ReadHeader::Whole(header)) => {
            assert!(header.bytes <= said.len() && header.bytes <= PROXY_HEADER_BYTES_MAX);
            // Neither more nor less than that belongs to it.
            let alone = read_proxy_header(&said[..header.bytes]);
            assert_eq!(alone, Ok(ReadHeader::Whole(header)));
            for length in 0..header.bytes {
                assert_eq!(read_proxy_header(&said[..length]), Ok(ReadHeader::Part));
            }
        }
        Ok(ReadHeader::Part) => assert!(said.len() < PROXY_HEADER_BYTES_MAX),
        // What is no header does not become one.
        Err(error) => {
            let more = [said, b"\r\n"].concat();
            assert_eq!(read_proxy_header(&more), Err(error));
        }
    }
}
