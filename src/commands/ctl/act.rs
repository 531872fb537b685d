//! `restart`, `stop`, `start` and `kill`: what would happen is said first, and confirmed if it is more than was named.

use std::io::{self, BufRead, IsTerminal, Write};

use byron_supervisors::Action;
use serde_json::json;

use super::super::{print, say, write_stdout};
use crate::cli::Confirmation;
use crate::exit_code::ExitCode;
use crate::observe::InstanceAddress;
use crate::observe::client::{Client, ClientError, percent_encoded};
use crate::observe::protocol::{Deed, Outlook, Prospect};
use crate::present::escape::escape_name;

/// Does it to every place that the pattern stands for, one after the other.
pub(super) async fn act(
    address: Option<&InstanceAddress>,
    is_json: bool,
    action: Action,
    pattern: &str,
    confirmation: Confirmation,
) -> anyhow::Result<ExitCode> {
    let mut client = Client::connect(address).await?;
    let question = format!(
        "/v1/consequence?action={action}&path={}",
        percent_encoded(pattern)
    );
    let outlook: Outlook = client.get(&question).await?;
    if confirmation == Confirmation::DryRun {
        if is_json {
            write_stdout(format!("{}\n", serde_json::to_string(&outlook)?).as_bytes())?;
        } else {
            print(&texts(&outlook.places))?;
        }
        return Ok(ExitCode::Done);
    }
    if action != Action::Start {
        let possible = outlook.places.iter().filter(|place| !place.is_refused);
        for place in possible {
            say(&escape_name(&place.text));
        }
    }
    if needs_confirmation(&outlook.places) && !is_confirmed(confirmation, &outlook) {
        return Ok(ExitCode::Refused);
    }
    let mut code = ExitCode::Done;
    for place in &outlook.places {
        let path = format!("/v1/children/{}/{action}", percent_encoded(&place.path));
        match client.post::<Deed>(&path, &json!({})).await {
            Ok(deed) if is_json => {
                write_stdout(format!("{}\n", serde_json::to_string(&deed)?).as_bytes())?;
            }
            Ok(deed) => print(&format!(
                "{} (event #{})\n",
                escape_name(&deed.done),
                deed.event
            ))?,
            // A refusal is about one place, anything else about the instance.
            Err(error @ ClientError::Refused { .. }) if outlook.places.len() > 1 => {
                say(&error.to_string());
                code = ExitCode::SomeFailed;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(code)
}

fn texts(places: &[Prospect]) -> String {
    let lines = places
        .iter()
        .map(|place| format!("{}\n", escape_name(&place.text)));
    lines.collect()
}

/// Whether more would happen than what was named.
fn needs_confirmation(places: &[Prospect]) -> bool {
    places.len() > 1 || places.iter().any(|place| place.affects_others)
}

fn is_confirmed(confirmation: Confirmation, outlook: &Outlook) -> bool {
    let action = &outlook.action;
    match confirmation {
        Confirmation::Given => true,
        Confirmation::Ask if io::stdin().is_terminal() => {
            let question = match outlook.places.as_slice() {
                [place] => format!("{action} {}? [y/N] ", escape_name(&place.path)),
                places => format!("{action} these {}? [y/N] ", places.len()),
            };
            let is_yes = ask(&question);
            if !is_yes {
                say("cancelled; nothing was done");
            }
            is_yes
        }
        Confirmation::Ask | Confirmation::Refused | Confirmation::DryRun => {
            say(&format!(
                "refused: this affects more than what was named, and nobody is asked; to {action} all the same say --yes"
            ));
            false
        }
    }
}

/// Anything but a yes is a no; so is the end of the input.
fn ask(question: &str) -> bool {
    let mut stderr = anstream::stderr();
    let _ = stderr
        .write_all(question.as_bytes())
        .and_then(|()| stderr.flush());
    let mut answer = String::new();
    let is_heard = io::stdin().lock().read_line(&mut answer).is_ok();
    is_heard && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_more_than_was_named_has_to_be_confirmed() {
        let place = |affects_others| Prospect {
            affects_others,
            ..Prospect::default()
        };
        assert!(!needs_confirmation(&[place(false)]));
        assert!(needs_confirmation(&[place(true)]));
        assert!(needs_confirmation(&[place(false), place(false)]));
    }
}
