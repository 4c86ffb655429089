//! Options whose order on the command line matters.

use clap::{Arg, ArgAction, ArgMatches, Command};

/// An option that may be given several times: its name, the name of its value and what it does.
pub(super) type Repeated = (&'static str, &'static str, &'static str);

/// Adds the options to a command.
pub(super) fn augment(command: Command, options: &[Repeated]) -> Command {
    options
        .iter()
        .fold(command, |command, (name, value, help)| {
            command.arg(
                Arg::new(*name)
                    .long(*name)
                    .value_name(*value)
                    .help(*help)
                    .action(ArgAction::Append)
                    // Negative numbers and text that a pipeline or a study has put in.
                    .allow_hyphen_values(true),
            )
        })
}

/// The options that were given, by name and value, in the order of the command line.
pub(super) fn ordered<'a>(
    matches: &'a ArgMatches,
    options: &[Repeated],
) -> Vec<(&'static str, &'a str)> {
    let mut given = Vec::new();
    for (name, ..) in options {
        let indices = matches.indices_of(name).into_iter().flatten();
        let values = matches.get_many::<String>(name).into_iter().flatten();
        given.extend(
            indices
                .zip(values)
                .map(|(index, value)| (index, *name, value.as_str())),
        );
    }
    given.sort_unstable_by_key(|(index, ..)| *index);
    given
        .into_iter()
        .map(|(_, name, value)| (name, value))
        .collect()
}

/// The error of an option whose value is wrong, as clap words it.
pub(super) fn invalid(name: &str, value: &str, allowed: &str) -> clap::Error {
    clap::Error::raw(
        clap::error::ErrorKind::ValueValidation,
        format!("invalid value '{value}' for '--{name}': allowed is {allowed}"),
    )
}
