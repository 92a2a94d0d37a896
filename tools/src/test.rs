//! `cargo xtask test`: everything, on a machine that may lack what it needs. Ends with the runner's summary.

use anyhow::Result;

use crate::install;
use crate::run;

/// The options of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Options {
    /// Run the slow suites (kill -9, power cuts, damage, random histories) at full size
    #[arg(long)]
    pub long: bool,
    /// Run only the tests whose names contain this
    pub filter: Option<String>,
}

impl Options {
    /// All tests, at the size that CI runs.
    pub const ALL: Self = Self { long: false, filter: None };
}

/// The environment variable by which suites know how often to repeat: 1 for a solid sample, 10 for `--long`.
pub const SCALE: &str = "SETTLED_TEST_SCALE";

/// Installs what is missing, then runs the tests.
///
/// # Errors
/// When something cannot be installed, or a test fails.
pub fn run(options: &Options) -> Result<()> {
    install::debian_packages()?;
    install::nextest()?;
    let (schemathesis, aiosmtpd) = (install::schemathesis()?, install::aiosmtpd()?);
    let (cryptography, moto) = (install::cryptography()?, install::moto()?);
    let oauth2_mock_server = install::oauth2_mock_server()?;
    let (scale, profile) = if options.long { ("10", "long") } else { ("1", "default") };
    if options.filter.is_none() {
        run::run(run::program("cargo test --workspace --doc --locked"))?;
    }
    let mut tests = run::program("cargo nextest run --workspace --all-targets --locked --no-fail-fast");
    tests.args(["--profile", profile]).args(options.filter.iter());
    tests.env(SCALE, scale).env("SETTLED_SCHEMATHESIS", schemathesis).env("SETTLED_AIOSMTPD", aiosmtpd);
    tests.env("SETTLED_CRYPTOGRAPHY", cryptography).env("SETTLED_MOTO", moto);
    tests.env("SETTLED_OAUTH2MOCK", oauth2_mock_server);
    run::run(tests)
}
