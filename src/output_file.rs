//! Poems in files, for `-o` and `-O`: whole or not there.
//!
//! A poem is written to `FILE.part` and takes its name when it is whole, so that nobody takes a piece for the poem, and a poem
//! that is already there stays until its successor is complete. What is no regular file (`/dev/null`, a named pipe) is
//! written to directly, since renaming over it would take it away from everyone else.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::quantity::quoted;

/// What to do with a file that is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Replace it, once the new poem is whole.
    #[default]
    Replace,
    /// Keep it and fail: `--no-clobber`.
    Keep,
}

/// What to do with a poem that did not become whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Partial {
    /// Remove it.
    #[default]
    Remove,
    /// Leave it as `FILE.part`: `--keep-partial`.
    Keep,
}

/// Why a poem is not in its file.
#[derive(Debug, Error)]
pub enum WriteFileError {
    /// There is a file of that name, and it was to be kept.
    #[error("{} exists already; to replace it leave out --no-clobber", shown(.0))]
    Exists(PathBuf),
    /// Another program is writing a poem to the same file.
    #[error("{} is being written by another byron", shown(.0))]
    Busy(PathBuf),
    /// The system refused; a full disk is the usual reason.
    #[error("cannot write {}", shown(path))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A poem on its way into a file. Unless it is [finished](OutputFile::finish), nothing is there afterwards.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    /// Where the bytes go until the poem is whole; `None` when they go to `path` directly.
    part: Option<PathBuf>,
    file: File,
    existing: Existing,
    partial: Partial,
}

impl OutputFile {
    /// Begins a poem that will be `path`.
    pub fn create(
        path: &Path,
        existing: Existing,
        partial: Partial,
    ) -> Result<OutputFile, WriteFileError> {
        let fail = |source| WriteFileError::Write {
            path: path.to_owned(),
            source,
        };
        let metadata = fs::metadata(path).ok();
        match &metadata {
            Some(_) if existing == Existing::Keep => {
                return Err(WriteFileError::Exists(path.to_owned()));
            }
            Some(metadata) if !metadata.is_file() => {
                let file = OpenOptions::new().write(true).open(path).map_err(fail)?;
                return Ok(OutputFile {
                    path: path.to_owned(),
                    part: None,
                    file,
                    existing,
                    partial,
                });
            }
            _ => {}
        }
        // The name of a link leads to the file that is to be replaced, not to the link.
        let path = if metadata.is_some() {
            fs::canonicalize(path).map_err(fail)?
        } else {
            path.to_owned()
        };
        let part = with_suffix(&path, ".part");
        // Somebody else's poem, on its way into the same file; what a crash left behind is not locked.
        if let Ok(other) = File::open(&part)
            && matches!(other.try_lock(), Err(TryLockError::WouldBlock))
        {
            return Err(WriteFileError::Busy(path));
        }
        match fs::remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
        // A new file, so that a link which somebody else put there is not followed.
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&part)
            .map_err(fail)?;
        // A file system without locks is no reason to fail: `finish` looks again.
        let _ = file.try_lock();
        let output = OutputFile {
            path,
            part: Some(part),
            file,
            existing,
            partial,
        };
        if let Some(metadata) = metadata {
            output
                .file
                .set_permissions(metadata.permissions())
                .map_err(|error| output.fail(error))?;
        }
        Ok(output)
    }

    /// Appends to the poem.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteFileError> {
        self.file.write_all(bytes).map_err(|error| self.fail(error))
    }

    /// The poem is whole: it takes its name.
    pub fn finish(mut self) -> Result<(), WriteFileError> {
        let Some(part) = self.part.clone() else {
            return Ok(());
        };
        // Some file systems tell only now that the disk is full.
        self.file.sync_all().map_err(|error| self.fail(error))?;
        if !is_same_file(&self.file, &part) {
            return Err(WriteFileError::Busy(self.path.clone()));
        }
        match self.existing {
            Existing::Replace => fs::rename(&part, &self.path).map_err(|error| self.fail(error))?,
            Existing::Keep => self.link_unless_exists(&part)?,
        }
        self.part = None;
        Ok(())
    }

    /// Gives the poem its name only if nobody took it meanwhile, which a rename cannot do.
    fn link_unless_exists(&self, part: &Path) -> Result<(), WriteFileError> {
        match fs::hard_link(part, &self.path) {
            Ok(()) => fs::remove_file(part).map_err(|error| self.fail(error)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(WriteFileError::Exists(self.path.clone()))
            }
            // A file system without hard links: the best that is left.
            Err(_) if !self.path.exists() => {
                fs::rename(part, &self.path).map_err(|error| self.fail(error))
            }
            Err(_) => Err(WriteFileError::Exists(self.path.clone())),
        }
    }

    fn fail(&self, source: io::Error) -> WriteFileError {
        WriteFileError::Write {
            path: self.path.clone(),
            source,
        }
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let (Some(part), Partial::Remove) = (&self.part, self.partial)
            && is_same_file(&self.file, part)
        {
            // Nobody is left to be told, and a `.part` that stays does no harm.
            let _ = fs::remove_file(part);
        }
    }
}

/// Makes the directory for `-O`, if it is not there.
pub fn create_directory(path: &Path) -> Result<(), WriteFileError> {
    fs::create_dir_all(path).map_err(|source| WriteFileError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Whether `path` still leads to `file`: another program may have put its own there.
fn is_same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn shown(path: &Path) -> String {
    let path = path.to_string_lossy();
    let quoted = quoted(&path);
    // Only a path that would be misread is quoted.
    if quoted.len() == path.len() + 2 && !path.contains(' ') {
        path.into_owned()
    } else {
        quoted
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use tempfile::TempDir;

    use super::*;

    fn directory_with(name: &str, text: &str) -> (TempDir, PathBuf) {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        (directory, path)
    }

    fn names(directory: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn two_poems_on_their_way_into_one_file_do_not_meet() {
        let (directory, path) = directory_with("poem", "old");
        let create = || OutputFile::create(&path, Existing::Replace, Partial::Remove);
        let mut first = create().unwrap();
        first.write(b"first").unwrap();
        let second = create().unwrap_err();
        assert!(
            matches!(&second, WriteFileError::Busy(busy) if *busy == path),
            "{second}"
        );
        // Where there are no locks, the second puts its own there.
        fs::remove_file(with_suffix(&path, ".part")).unwrap();
        fs::write(with_suffix(&path, ".part"), "second").unwrap();
        assert!(matches!(first.finish(), Err(WriteFileError::Busy(_))));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(
            names(&directory),
            ["poem", "poem.part"],
            "the other's is left alone"
        );
    }

    #[test]
    fn what_a_crash_left_behind_is_in_nobodys_way() {
        let (directory, path) = directory_with("poem.part", "half a po");
        let path = path.with_extension("");
        let mut poem = OutputFile::create(&path, Existing::Replace, Partial::Remove).unwrap();
        poem.write(b"whole").unwrap();
        poem.finish().unwrap();
        assert_eq!(names(&directory), ["poem"]);
    }

    #[test]
    fn the_old_poem_stays_until_the_new_one_is_whole() {
        let (directory, path) = directory_with("poem.txt", "old");
        let mut output = OutputFile::create(&path, Existing::Replace, Partial::Remove).unwrap();
        output.write(b"ne").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        output.write(b"w").unwrap();
        output.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names(&directory), ["poem.txt"]);
    }

    #[test]
    fn a_poem_that_is_not_whole_leaves_nothing_unless_it_is_to_be_kept() {
        for (partial, left) in [
            (Partial::Remove, vec![]),
            (Partial::Keep, vec!["poem.txt.part"]),
        ] {
            let directory = TempDir::new().unwrap();
            let path = directory.path().join("poem.txt");
            let mut output = OutputFile::create(&path, Existing::Replace, partial).unwrap();
            output.write(b"half").unwrap();
            drop(output);
            assert_eq!(names(&directory), left);
        }
    }

    #[test]
    fn no_clobber_keeps_what_is_there_and_what_came_meanwhile() {
        let (_directory, path) = directory_with("poem.txt", "old");
        let error = OutputFile::create(&path, Existing::Keep, Partial::Remove).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{} exists already; to replace it leave out --no-clobber",
                path.display()
            )
        );

        let directory = TempDir::new().unwrap();
        let path = directory.path().join("poem.txt");
        let output = OutputFile::create(&path, Existing::Keep, Partial::Remove).unwrap();
        fs::write(&path, "meanwhile").unwrap();
        assert!(matches!(output.finish(), Err(WriteFileError::Exists(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "meanwhile");

        let other = directory.path().join("other.txt");
        OutputFile::create(&other, Existing::Keep, Partial::Remove)
            .unwrap()
            .finish()
            .unwrap();
        assert_eq!(names(&directory), ["other.txt", "poem.txt"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_and_permissions_survive() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let (directory, path) = directory_with("poem.txt", "old");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let link = directory.path().join("link.txt");
        symlink(&path, &link).unwrap();
        let mut output = OutputFile::create(&link, Existing::Replace, Partial::Remove).unwrap();
        output.write(b"new").unwrap();
        output.finish().unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_that_names_the_file() {
        let path = Path::new("/dev/full");
        let mut output = OutputFile::create(path, Existing::Replace, Partial::Remove).unwrap();
        let error = output.write(b"poem").unwrap_err();
        assert_eq!(error.to_string(), "cannot write /dev/full");
        assert_eq!(
            error.source().unwrap().to_string(),
            "No space left on device (os error 28)"
        );
        assert!(path.exists());
    }

    #[test]
    fn a_directory_is_no_file() {
        let directory = TempDir::new().unwrap();
        let error =
            OutputFile::create(directory.path(), Existing::Replace, Partial::Remove).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot write {}", directory.path().display())
        );
    }
}
