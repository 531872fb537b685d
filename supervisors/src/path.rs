//! Where a process stands in its tree: `root/poems/ecstasy`.

use std::fmt;
use std::sync::Arc;

/// The place of a supervised process: its supervisor's path and its own child id.
///
/// Cheap to copy and to extend: a connection's path costs nothing until somebody prints it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Path(Arc<Node>);

#[derive(PartialEq, Eq, Hash)]
struct Node {
    parent: Option<Path>,
    segment: Segment,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Segment {
    Name(Arc<str>),
    Number(u64),
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

/// What a process is called in reports: its place, and which incarnation of that place it is.
#[derive(Debug, Clone)]
pub(crate) struct Label {
    pub(crate) path: Path,
    pub(crate) incarnation: u32,
    /// A dynamic child: its normal starts and ends are counted, not told one by one.
    pub(crate) dynamic: bool,
}
