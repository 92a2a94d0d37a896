//! The `settled` command: parse, run.

use settled::cli::exit::Exit;

fn main() -> Exit {
    settled::cli::main(std::env::args_os())
}
