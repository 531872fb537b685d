//! Scripts of chunks and endings, and what is on the screen after each.

use proptest::prelude::*;

use super::*;

const STREAM: OrderSettings = OrderSettings {
    order: Order::Args,
    separator: None,
    spool_bytes_max: 16,
    destination: Destination::Stream,
};

enum Step {
    Chunk(usize, &'static str),
    Whole(usize),
    Failed(usize),
}
use Step::{Chunk, Failed, Whole};

/// Plays `steps` for three poems; what is written in each step is set apart by bars.
#[track_caller]
fn check(settings: &OrderSettings, steps: &[Step], expected: &str) {
    let labels = ["10001", "10002", "10003"].map(String::from).to_vec();
    let mut poems = OrderedPoems::new(settings.clone(), labels);
    let mut written = Vec::new();
    for step in steps {
        let mut out = Vec::new();
        match *step {
            Chunk(task, text) => poems.chunk(task, text.as_bytes(), &mut out).unwrap(),
            Whole(task) => drop(poems.finished(task, Ending::Whole, &mut out).unwrap()),
            Failed(task) => drop(poems.finished(task, Ending::Failed, &mut out).unwrap()),
        }
        written.push(String::from_utf8(out).unwrap());
    }
    assert_eq!(written.join("¦"), expected);
}

#[test]
fn the_first_poem_streams_while_the_others_wait() {
    let steps = [
        Chunk(1, "b1"),
        Chunk(0, "a1"),
        Chunk(2, "c1"),
        Chunk(0, "a2"),
        Whole(0),
        Chunk(1, "b2"),
        Whole(1),
        Whole(2),
    ];
    check(&STREAM, &steps, "¦a1¦¦a2¦b1¦b2¦c1¦");
}

#[test]
fn poems_that_ended_early_follow_at_once() {
    check(
        &STREAM,
        &[
            Chunk(2, "c"),
            Whole(2),
            Chunk(1, "b"),
            Whole(1),
            Chunk(0, "a"),
            Whole(0),
        ],
        "¦¦¦¦a¦bc",
    );
}

#[test]
fn a_poem_that_fails_before_its_turn_prints_nothing() {
    check(
        &STREAM,
        &[
            Chunk(1, "b"),
            Failed(1),
            Chunk(2, "c"),
            Chunk(0, "a"),
            Whole(0),
            Whole(2),
        ],
        "¦¦¦a¦c¦",
    );
}

#[test]
fn of_a_poem_that_fails_in_its_turn_the_bytes_printed_are_told() {
    let mut poems = OrderedPoems::new(STREAM, vec![String::new(); 2]);
    let mut out = Vec::new();
    poems.chunk(0, b"12345", &mut out).unwrap();
    poems.chunk(1, b"123", &mut out).unwrap();
    assert_eq!(poems.finished(1, Ending::Failed, &mut out).unwrap(), 0);
    assert_eq!(poems.finished(0, Ending::Failed, &mut out).unwrap(), 5);
    assert_eq!(poems.head(), None);
}

#[test]
fn done_prints_each_poem_whole_when_it_ends() {
    let settings = OrderSettings {
        order: Order::Done,
        ..STREAM
    };
    let steps = [
        Chunk(0, "a1"),
        Chunk(1, "b1"),
        Chunk(2, "c"),
        Whole(1),
        Failed(2),
        Chunk(0, "a2"),
        Whole(0),
    ];
    check(&settings, &steps, "¦¦¦b1¦¦¦a1a2");
}

#[test]
fn interleave_prints_whole_lines_behind_labels() {
    let settings = OrderSettings {
        order: Order::Interleave,
        ..STREAM
    };
    let steps = [
        Chunk(0, "a1\na"),
        Chunk(1, "b"),
        Chunk(0, "2\n\na3"),
        Whole(0),
        Failed(1),
        Chunk(2, "\n"),
        Whole(2),
    ];
    check(
        &settings,
        &steps,
        "10001 | a1\n¦¦10001 | a2\n10001 | \n¦10001 | a3\n¦¦10003 | \n¦",
    );
}

#[test]
fn separators_stand_between_poems_only() {
    let settings = OrderSettings {
        separator: Some("--\n".to_owned()),
        ..STREAM
    };
    check(
        &settings,
        &[
            Chunk(0, "a\n"),
            Whole(0),
            Failed(1),
            Chunk(2, "c\n"),
            Whole(2),
        ],
        "a\n¦¦¦--\nc\n¦",
    );
    check(
        &settings,
        &[Failed(0), Whole(1), Chunk(2, "c"), Whole(2)],
        "¦¦--\nc¦",
    );
}

#[test]
fn poems_do_not_run_together_on_a_terminal_but_stay_as_they_are_in_a_pipe() {
    let steps = [
        Chunk(0, "a"),
        Whole(0),
        Chunk(1, "b\n"),
        Whole(1),
        Chunk(2, "c"),
        Whole(2),
    ];
    check(&STREAM, &steps, "a¦¦b\n¦¦c¦");
    check(
        &OrderSettings {
            destination: Destination::Terminal,
            ..STREAM
        },
        &steps,
        "a¦¦\nb\n¦¦c¦",
    );
    check(
        &OrderSettings {
            destination: Destination::RawTerminal,
            ..STREAM
        },
        &steps,
        "a¦¦\nb\n¦¦c¦",
    );
}

#[test]
fn a_terminal_is_protected_unless_its_owner_wants_it_raw() {
    let steps = [Chunk(0, "\x1b[2J"), Whole(0)];
    check(
        &OrderSettings {
            destination: Destination::Terminal,
            ..STREAM
        },
        &steps,
        "\\x1b[2J¦",
    );
    check(
        &OrderSettings {
            destination: Destination::RawTerminal,
            ..STREAM
        },
        &steps,
        "\x1b[2J¦",
    );
}

#[test]
fn a_message_may_complete_the_line_on_a_terminal_only() {
    for (destination, expected) in [(Destination::Stream, "a"), (Destination::Terminal, "a\n")] {
        let mut poems = OrderedPoems::new(
            OrderSettings {
                destination,
                ..STREAM
            },
            vec![String::new()],
        );
        let mut out = Vec::new();
        poems.chunk(0, b"a", &mut out).unwrap();
        assert!(!poems.at_line_start());
        poems.finish_line(&mut out).unwrap();
        assert_eq!(out, expected.as_bytes());
    }
}

#[test]
fn a_line_without_end_is_broken() {
    let mut poems = OrderedPoems::new(
        OrderSettings {
            order: Order::Interleave,
            ..STREAM
        },
        vec!["x".to_owned()],
    );
    let mut out = Vec::new();
    poems
        .chunk(0, &vec![b'.'; LINE_BYTES_MAX + 1], &mut out)
        .unwrap();
    assert_eq!(out.len(), "x | ".len() + LINE_BYTES_MAX + 1);
    assert_eq!(poems.tasks[0].line.len(), 1);
}

#[test]
fn a_reader_who_leaves_is_told_from_a_full_disk_for_spools() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut poems = OrderedPoems::new(STREAM, vec![String::new()]);
    let error = poems.chunk(0, b"a", &mut Closed).unwrap_err();
    assert!(
        matches!(error, WritePoemError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    );
}

proptest! {
    #[test]
    fn args_equals_the_poems_one_after_another(
        script in proptest::collection::vec((0_usize..4, "[a-c\n]{0,12}"), 0..40),
        endings in Just([0, 1, 2, 3]).prop_shuffle(),
        failed in 0_usize..5,
    ) {
        let mut poems = OrderedPoems::new(STREAM, vec![String::new(); 4]);
        let (mut out, mut expected) = (Vec::new(), vec![String::new(); 4]);
        for (task, text) in &script {
            poems.chunk(*task, text.as_bytes(), &mut out).unwrap();
            expected[*task].push_str(text);
        }
        for task in endings {
            let ending = if task == failed { Ending::Failed } else { Ending::Whole };
            let written = poems.finished(task, ending, &mut out).unwrap();
            if ending == Ending::Failed {
                expected[task].truncate(written as usize);
            }
        }
        prop_assert_eq!(String::from_utf8(out).unwrap(), expected.concat());
    }
}
