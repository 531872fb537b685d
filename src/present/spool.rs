//! Where a poem waits for its turn: in memory, and beyond a limit in a file without a name.
//!
//! The file has no name, so it disappears with the program however the program ends.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::mem;

/// How much is read back at a time.
const BLOCK_BYTES: usize = 64 * 1024;

/// Bytes that wait.
#[derive(Debug, Default)]
pub(super) struct Spool {
    memory: Vec<u8>,
    /// All that came before `memory`, which is empty then.
    file: Option<File>,
}

impl Spool {
    /// Adds `bytes`, in memory as long as no more than `memory_bytes_max` wait there.
    pub(super) fn push(&mut self, bytes: &[u8], memory_bytes_max: u64) -> io::Result<()> {
        if self.file.is_none() && (self.memory.len() + bytes.len()) as u64 > memory_bytes_max {
            let mut file = tempfile::tempfile()?;
            file.write_all(&mem::take(&mut self.memory))?;
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => {
                self.memory.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Everything that waits, to be read once from its beginning; nothing waits afterwards.
    pub(super) fn take(&mut self) -> io::Result<Blocks> {
        let Spool { memory, mut file } = mem::take(self);
        if let Some(file) = &mut file {
            file.rewind()?;
        }
        Ok(Blocks {
            memory: Some(memory).filter(|memory| !memory.is_empty()),
            file,
        })
    }
}

/// What waited, block by block.
#[derive(Debug)]
pub(super) struct Blocks {
    memory: Option<Vec<u8>>,
    file: Option<File>,
}

impl Blocks {
    /// The next bytes; `None` after the last.
    pub(super) fn next_block(&mut self) -> io::Result<Option<Vec<u8>>> {
        if let Some(memory) = self.memory.take() {
            return Ok(Some(memory));
        }
        let Some(file) = &mut self.file else {
            return Ok(None);
        };
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        file.take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
        Ok(Some(block).filter(|block| !block.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(spool: &mut Spool) -> Vec<u8> {
        let (mut blocks, mut all) = (spool.take().unwrap(), Vec::new());
        while let Some(block) = blocks.next_block().unwrap() {
            all.extend(block);
        }
        all
    }

    #[test]
    fn what_waits_comes_back_as_it_was() {
        for memory_bytes_max in [0, 10, 1_000_000] {
            let mut spool = Spool::default();
            let poem: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
            for chunk in poem.chunks(7_001) {
                spool.push(chunk, memory_bytes_max).unwrap();
            }
            assert_eq!(spool.file.is_some(), memory_bytes_max < 200_000);
            assert_eq!(drain(&mut spool), poem);
            assert_eq!(drain(&mut spool), b"");
        }
    }
}
