//! The letters of an endpoint, each with its column and whether a backslash took away its special meaning.

use super::error::{Hint, ParseEndpointError, Role};

/// One part of a string with a scheme.
pub(super) struct Argument {
    pub(super) key: Option<Text>,
    pub(super) value: Text,
}

/// Some letters in a row, and the column after the last one, where something is missing if it is.
#[derive(Clone)]
pub(super) struct Text {
    pub(super) letters: Vec<Letter>,
    pub(super) end_column: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Letter {
    pub(super) letter: char,
    pub(super) column: usize,
    /// Written with a backslash: never a delimiter.
    pub(super) literal: bool,
}

/// A mistake at a column, before it knows the whole input.
pub(super) struct Mistake {
    pub(super) column: Option<usize>,
    pub(super) problem: String,
    pub(super) hint: Hint,
}

impl Mistake {
    pub(super) fn at(column: usize, problem: impl Into<String>) -> Mistake {
        Mistake {
            column: Some(column),
            problem: problem.into(),
            hint: Hint::Forms,
        }
    }

    pub(super) fn nowhere(problem: impl Into<String>) -> Mistake {
        Mistake {
            column: None,
            problem: problem.into(),
            hint: Hint::Forms,
        }
    }

    pub(super) fn say(self, hint: impl Into<String>) -> Mistake {
        Mistake {
            hint: Hint::Say(hint.into()),
            ..self
        }
    }

    /// The same mistake in a text that begins so many columns earlier.
    pub(super) fn shifted(self, columns: usize) -> Mistake {
        Mistake {
            column: self.column.map(|column| column + columns),
            ..self
        }
    }

    pub(super) fn into_error(self, role: Role, input: &str) -> ParseEndpointError {
        let Mistake {
            column,
            problem,
            hint,
        } = self;
        ParseEndpointError {
            role,
            input: input.to_owned(),
            column,
            problem,
            hint,
        }
    }
}

impl Letter {
    pub(super) fn is(self, delimiter: char) -> bool {
        self.letter == delimiter && !self.literal
    }
}

impl Text {
    /// All of `input`, in which a backslash has no meaning.
    pub(super) fn plain_letters(input: &str) -> Text {
        let letter = |(letter, column)| Letter {
            letter,
            column,
            literal: false,
        };
        let letters: Vec<Letter> = input.chars().zip(1..).map(letter).collect();
        Text {
            end_column: letters.len() + 1,
            letters,
        }
    }

    pub(super) fn column(&self) -> usize {
        self.letters
            .first()
            .map_or(self.end_column, |letter| letter.column)
    }

    pub(super) fn plain(&self) -> String {
        self.letters.iter().map(|letter| letter.letter).collect()
    }

    /// The part before and the part after the letter at `index`, which is dropped.
    pub(super) fn cut(mut self, index: usize) -> (Text, Text) {
        let after = self.letters.split_off(index + 1);
        let end_column = self
            .letters
            .pop()
            .map_or(self.end_column, |letter| letter.column);
        (
            Text {
                letters: self.letters,
                end_column,
            },
            Text {
                letters: after,
                end_column: self.end_column,
            },
        )
    }

    pub(super) fn position(&self, delimiter: char) -> Option<usize> {
        self.letters.iter().position(|letter| letter.is(delimiter))
    }

    /// Cuts at every colon outside brackets.
    pub(super) fn arguments(mut self) -> Vec<Text> {
        let mut arguments = Vec::new();
        loop {
            let mut in_brackets = false;
            let colon = self.letters.iter().position(|letter| {
                in_brackets = (in_brackets || letter.is('[')) && !letter.is(']');
                letter.is(':') && !in_brackets
            });
            let Some(colon) = colon else {
                arguments.push(self);
                return arguments;
            };
            let (argument, rest) = self.cut(colon);
            arguments.push(argument);
            self = rest;
        }
    }
}
