//! The directory where one user's instances find each other, and where nobody else can put anything.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::{env, ffi::OsString};

use thiserror::Error;

/// What the directory is called below the user's runtime directory.
const NAME: &str = "byron";

/// Its mode: its owner's, and nobody else's.
const MODE: u32 = 0o700;

/// Who else could put something there.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Why the directory is not to be trusted, or not to be had.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// A file of that name is in the way.
    #[error("{} is no directory", .0.display())]
    NoDirectory(PathBuf),
    /// Somebody else made it.
    #[error("{} belongs to uid {owner}, not to uid {uid}; remove it, or set XDG_RUNTIME_DIR", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        uid: u32,
    },
    /// Others can put things there.
    #[error("others can write to {}; chmod 700 it", .0.display())]
    Open(PathBuf),
    /// The system refuses.
    #[error("cannot use {}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Who we are.
pub(super) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Where it is, whether or not it is there: below `$XDG_RUNTIME_DIR`, or `/run/user/UID` if that is ours, or else the
/// temporary directory.
pub(super) fn locate() -> PathBuf {
    let uid = own_uid();
    choose(
        env::var_os("XDG_RUNTIME_DIR"),
        Path::new("/run/user"),
        &env::temp_dir(),
        uid,
    )
}

fn choose(asked: Option<OsString>, run_user: &Path, temporary: &Path, uid: u32) -> PathBuf {
    // A relative path would be another one for each program; the standard says to ignore it.
    if let Some(asked) = asked.map(PathBuf::from).filter(|asked| asked.is_absolute()) {
        return asked.join(NAME);
    }
    let of_user = run_user.join(uid.to_string());
    let is_ours =
        fs::metadata(&of_user).is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == uid);
    if is_ours {
        of_user.join(NAME)
    } else {
        temporary.join(format!("{NAME}-{uid}"))
    }
}

/// Makes sure that it is there, and ours alone.
pub(super) fn create(path: &Path) -> Result<(), DirectoryError> {
    match DirBuilder::new().mode(MODE).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(unusable(path, error)),
        _ => check(path, own_uid()).map(|_| ()),
    }
}

/// Whether it is there; an error if it is, and is not ours alone.
pub(super) fn check(path: &Path, uid: u32) -> Result<bool, DirectoryError> {
    // Not through a link: whoever made the link could lead it elsewhere tomorrow.
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(unusable(path, error)),
    };
    if !metadata.is_dir() {
        return Err(DirectoryError::NoDirectory(path.to_owned()));
    }
    if metadata.uid() != uid {
        return Err(DirectoryError::Foreign {
            path: path.to_owned(),
            owner: metadata.uid(),
            uid,
        });
    }
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(DirectoryError::Open(path.to_owned()));
    }
    Ok(true)
}

fn unusable(path: &Path, source: io::Error) -> DirectoryError {
    DirectoryError::Unusable {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn the_runtime_directory_of_the_user_comes_first_and_the_temporary_one_last() {
        let there = tempfile::tempdir().unwrap();
        let uid = own_uid();
        let place = |asked: Option<&str>| {
            choose(
                asked.map(OsString::from),
                there.path(),
                Path::new("/tmp"),
                uid,
            )
        };
        assert_eq!(place(Some("/run/mine")), Path::new("/run/mine/byron"));
        let temporary = PathBuf::from(format!("/tmp/byron-{uid}"));
        assert_eq!(place(None), temporary);
        assert_eq!(place(Some("relative")), temporary);
        let of_user = there.path().join(uid.to_string());
        fs::create_dir(&of_user).unwrap();
        assert_eq!(place(None), of_user.join("byron"));
    }

    #[test]
    fn it_is_made_for_its_owner_alone() {
        let there = tempfile::tempdir().unwrap();
        let path = there.path().join("byron");
        assert!(!check(&path, own_uid()).unwrap(), "not there yet");
        create(&path).unwrap();
        create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_directory_that_others_can_write_to_or_own_is_refused() {
        let there = tempfile::tempdir().unwrap();
        let path = there.path().join("byron");
        create(&path).unwrap();
        assert!(matches!(
            check(&path, own_uid() + 1),
            Err(DirectoryError::Foreign { owner, .. }) if owner == own_uid()
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(create(&path), Err(DirectoryError::Open(_))));
        let link = there.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(matches!(create(&link), Err(DirectoryError::NoDirectory(_))));
        let nowhere = there.path().join("no/where");
        assert!(matches!(
            create(&nowhere),
            Err(DirectoryError::Unusable { .. })
        ));
    }
}
