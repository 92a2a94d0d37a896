//! `settled serve --demo`: where the demo lies, and what a newcomer is told.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::clock::Clock;
use crate::config::{Config, DEFAULT_DATA_DIR};
use crate::demo::{API_KEY, DemoError, EMAIL, ENVIRONMENT, HALF_WAY, PASSWORD, unpack};
use crate::ids::{Fresh, StoreId};
use crate::private;

/// A demo's place, made ready to be served.
pub struct Demo {
    /// The options, with the folder that it lies in.
    pub config: Config,
    /// That folder, where it goes with this value.
    temporary: Option<PathBuf>,
}

impl Demo {
    /// Makes it, in a folder of its own where nobody named one.
    ///
    /// # Errors
    /// When it cannot be made, or a store that is no demo is in the folder.
    pub fn prepare(config: &Config) -> Result<Self, DemoError> {
        // What is public does not go where somebody's own snapshots lie.
        let config_of_demo = Config { snapshots_url: None, snapshots_dir: None, ..config.clone() };
        let mut demo = Self { config: config_of_demo, temporary: None };
        if config.data_dir == Path::new(DEFAULT_DATA_DIR) {
            let folder = temporary().map_err(|(path, source)| DemoError::Io { path, source })?;
            demo.config.data_dir.clone_from(&folder);
            demo.temporary = Some(folder);
        }
        unpack(&demo.config, &Clock::system())?;
        Ok(demo)
    }

    /// Where it is, that it is public, how to log in, and what to try.
    pub fn greeting(&self, url: &str) -> String {
        let (dir, listen) = (self.config.data_dir.display(), self.config.listen);
        let reached = match listen.ip().is_loopback() {
            true => String::new(),
            false => format!("WARNING: it listens on {listen}: whoever reaches that can log in.\n"),
        };
        let stays = match self.temporary {
            Some(_) => "until the server stops; with --data-dir it stays where you say",
            None => "and stays there",
        };
        let bearer = "-H \"Authorization: Bearer $TOKEN\"";
        format!(
            r#"
This is a demo. Its history, its password and its API key come with every copy of Settled: keep nothing of yours in it.
{reached}It lies in {dir} {stays}.

Log in as {EMAIL} with the password `{PASSWORD}`, in another terminal:

TOKEN=$(curl -sS {url}/v1/auth/login -H 'content-type: application/json' -d '{{"email": "{EMAIL}", "password": "{PASSWORD}"}}' | sed 's/.*"token":"\([^"]*\)".*/\1/')

Who did what, what was set half a year ago, and what a program reads with an API key:

curl -sS '{url}/v1/audit?action=secret.*&limit=5' {bearer}
curl -sS '{url}/v1/environments/{ENVIRONMENT}/config?as_of={HALF_WAY}' {bearer}
curl -sS '{url}/v1/ctx?environment={ENVIRONMENT}' -H 'x-fastn-api-key: {API_KEY}'
"#
        )
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if let Some(folder) = &self.temporary {
            let _gone = fs::remove_dir_all(folder);
        }
    }
}

/// A folder that was not there before and that nobody else can look into.
fn temporary() -> Result<PathBuf, (PathBuf, io::Error)> {
    let path = std::env::temp_dir().join(format!("settled-demo-{}", Fresh.id::<StoreId>()));
    match private::make_dir(&path) {
        Ok(()) => Ok(path),
        Err(error) => Err((path, error)),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command};

    use super::*;

    fn config(flags: &[&str]) -> Config {
        let command = Config::augment_args(Command::new("serve").no_binary_name(true));
        let matches = command.try_get_matches_from(flags).expect("these are options");
        Config::from_matches(&matches).expect("these are options")
    }

    fn greeting(flags: &[&str]) -> String {
        Demo { config: config(flags), temporary: None }.greeting("http://127.0.0.1:1")
    }

    #[test]
    fn a_demo_keeps_away_from_where_somebodys_own_snapshots_lie() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let dir = place.path().join("demo");
        let dir = dir.to_str().expect("it is text");
        let own = place.path().join("own");
        let own = own.to_str().expect("it is text");
        for named in [["--snapshots-url", "s3://prod"], ["--snapshots-dir", own]] {
            let flags = [&["--demo", "--data-dir", dir][..], &named].concat();
            let demo = Demo::prepare(&config(&flags)).expect("it can be made");
            assert_eq!(demo.config.snapshots_url, None);
            assert!(demo.config.snapshots_dir().starts_with(dir));
        }
        assert!(!Path::new(own).exists(), "nothing of a demo is there");
    }

    #[test]
    fn a_demo_that_others_reach_is_said_loudly() {
        assert!(!greeting(&["--demo", "--listen", "127.0.0.1:7373"]).contains("WARNING"));
        assert!(
            greeting(&["--demo", "--listen", "0.0.0.0:7373"]).contains("WARNING: it listens on 0.0.0.0:7373")
        );
    }
}
