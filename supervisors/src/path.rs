//! Where a process stands in its tree: `root/poems/ecstasy`.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

/// The place of a supervised process: its supervisor's path and its own child id.
///
/// Cheap to copy and to extend: a connection's path costs nothing until somebody prints it. As text it is the ids from
/// the root down, with `/` between them, and it can be read from that again.
///
/// ```
/// # use byron_supervisors::Path;
/// let path: Path = "root/poems/ecstasy".parse()?;
/// assert_eq!(path, Path::root("root").child("poems").child("ecstasy"));
/// assert_eq!(path.id(), "ecstasy");
/// assert!("root//ecstasy".parse::<Path>().is_err());
/// # Ok::<(), byron_supervisors::ParsePathError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Path(Arc<Node>);

#[derive(PartialEq, Eq, Hash)]
struct Node {
    parent: Option<Path>,
    segment: Segment,
}

#[derive(Clone)]
enum Segment {
    Name(Arc<str>),
    Number(u64),
}

impl Segment {
    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Name(name) => Cow::Borrowed(name),
            Self::Number(number) => Cow::Owned(number.to_string()),
        }
    }
}

/// A number is the same as its text: that is what was read.
impl PartialEq for Segment {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => one == other,
            _ => self.text() == other.text(),
        }
    }
}

impl Eq for Segment {}

impl Hash for Segment {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text().hash(state);
    }
}

impl Path {
    /// The path of a tree's root.
    pub fn root(name: impl Into<Arc<str>>) -> Self {
        Self(Arc::new(Node {
            parent: None,
            segment: Segment::Name(name.into()),
        }))
    }

    /// The path of the child with this id.
    pub fn child(&self, name: impl Into<Arc<str>>) -> Self {
        Self(Arc::new(Node {
            parent: Some(self.clone()),
            segment: Segment::Name(name.into()),
        }))
    }

    /// The path of a dynamic child, which has a number for a name.
    pub(crate) fn numbered(&self, number: u64) -> Self {
        Self(Arc::new(Node {
            parent: Some(self.clone()),
            segment: Segment::Number(number),
        }))
    }

    /// The supervisor's path; `None` for a root.
    pub fn parent(&self) -> Option<&Self> {
        self.0.parent.as_ref()
    }

    /// Its own id: the last part.
    pub fn id(&self) -> Cow<'_, str> {
        self.0.segment.text()
    }

    /// The number that a dynamic child has for a name.
    pub(crate) fn number(&self) -> Option<u64> {
        match self.0.segment {
            Segment::Number(number) => Some(number),
            Segment::Name(_) => None,
        }
    }

    /// From the root down, itself last.
    pub(crate) fn lineage(&self) -> Vec<&Self> {
        let mut lineage = vec![self];
        while let Some(parent) = lineage.last().and_then(|path| path.parent()) {
            lineage.push(parent);
        }
        lineage.reverse();
        lineage
    }

    pub(crate) fn bytes(&self) -> usize {
        let own = match &self.0.segment {
            Segment::Name(name) => name.len(),
            Segment::Number(_) => 8,
        };
        own + self.parent().map_or(0, |parent| parent.bytes() + 1)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent() {
            write!(f, "{parent}/")?;
        }
        match &self.0.segment {
            Segment::Name(name) => f.write_str(name),
            Segment::Number(number) => write!(f, "{number}"),
        }
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a path: a part between two `/` is empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a path; expected ids with `/` between them, such as `root/poems/ecstasy`")]
pub struct ParsePathError(String);

impl FromStr for Path {
    type Err = ParsePathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.split('/').any(str::is_empty) {
            return Err(ParsePathError(text.to_owned()));
        }
        let mut ids = text.split('/');
        let root = Self::root(ids.next().unwrap_or_default());
        Ok(ids.fold(root, |path, id| path.child(id)))
    }
}

/// What a process is called in reports: its place, and which incarnation of that place it is.
#[derive(Debug, Clone)]
pub(crate) struct Label {
    pub(crate) path: Path,
    pub(crate) incarnation: u32,
    /// A dynamic child: its normal starts and ends are counted, not told one by one.
    pub(crate) dynamic: bool,
}
