//! `settled completions`: the script by which a shell completes this command line.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::exit::Exit;
use crate::cli::{Cli, output};

/// `settled completions`.
#[derive(Args, Debug)]
pub struct Completions {
    /// For this shell; its manual says where such a script is put
    shell: Shell,
}

impl Completions {
    /// Runs it.
    pub fn run(&self) -> Exit {
        output::line(script(self.shell).trim_end());
        Exit::Fine
    }
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "settled", &mut script);
    String::from_utf8(script).expect("names and texts of the command line are UTF-8")
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    /// The names of all subcommands, with those of subcommands.
    fn names(command: &clap::Command) -> Vec<String> {
        command
            .get_subcommands()
            .flat_map(|sub| [vec![sub.get_name().to_owned()], names(sub)].concat())
            .collect()
    }

    #[test]
    fn each_shells_script_names_every_subcommand_and_the_options_of_serve() {
        let names = names(&Cli::command());
        assert!(names.iter().any(|name| name == "accept") && names.len() > 6, "{names:?}");
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for name in &names {
                assert!(script.contains(name.as_str()), "{name} is not in the script of {shell}");
            }
            assert!(script.contains("data-dir"), "{shell}");
        }
    }
}
