//! The three sources of an option agree, and what a file has wrong is refused with its line.

use std::process::Command as Process;

use clap::{Arg, Command};

use super::file::{ConfigError, File};
use super::*;

fn command() -> Command {
    Config::augment_args(Command::new("serve").no_binary_name(true))
}

fn from_flags(flags: &[&str]) -> Result<Config, ConfigError> {
    Config::from_matches(&command().try_get_matches_from(flags)?)
}

fn from_file(text: &str, flags: &[&str]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("settled.toml");
    std::fs::write(&path, text).expect("the file is written");
    let command = File::read(&path)?.under(command())?;
    Config::from_matches(&command.try_get_matches_from(flags)?)
}

/// The message without the folder.
fn refusal(text: &str) -> String {
    let message = from_file(text, &[]).unwrap_err().to_string();
    message.rsplit_once('/').map_or(message.clone(), |(_, rest)| rest.to_owned())
}

/// For each option: a value that is not its default, on the command line and in TOML.
const VALUES: &[(&str, &str, &str)] = &[
    ("data-dir", "/srv/settled", "'/srv/settled'"),
    ("demo", "true", "true"),
    ("snapshots-dir", "/mnt/snapshots", "'/mnt/snapshots'"),
    ("snapshots-url", "s3://settled/prod", "'s3://settled/prod'"),
    ("snapshot-every", "6h", "'6h'"),
    ("snapshot-keep", "28", "28"),
    ("snapshot-keep-keys", "10d", "'10d'"),
    ("listen", "127.0.0.9:80", "'127.0.0.9:80'"),
    ("operator-listen", "127.0.0.9:81", "'127.0.0.9:81'"),
    ("operator-token-file", "/keys/operators", "'/keys/operators'"),
    ("tls-cert", "/keys/cert.pem", "'/keys/cert.pem'"),
    ("tls-key", "/keys/key.pem", "'/keys/key.pem'"),
    ("public-url", "https://settings.example.org", "'https://settings.example.org'"),
    ("trusted-proxies", "10.0.0.0/8,127.0.0.1/32", "['10.0.0.0/8', '127.0.0.1/32']"),
    ("root-key-file", "/keys/root", "'/keys/root'"),
    ("root-key-env", "ROOT", "'ROOT'"),
    ("root-key-command", "pass show root", "'pass show root'"),
    ("smtp-url", "smtps://a:b@mail.example.org", "'smtps://a:b@mail.example.org'"),
    ("mail-dir", "/srv/mail", "'/srv/mail'"),
    ("mail-from", "settled@example.org", "'settled@example.org'"),
    ("dns-resolver", "192.0.2.53:5353", "'192.0.2.53:5353'"),
    ("signup", "open", "'open'"),
    ("organizations", "open", "'open'"),
    ("password-memory", "64MiB", "'64MiB'"),
    ("password-passes", "3", "3"),
    ("password-queue", "8", "8"),
    ("oauth-allow-loopback", "true", "true"),
    ("queue-capacity", "16", "16"),
    ("resident-streams", "7", "7"),
    ("log-cache", "4MiB", "'4MiB'"),
    ("min-free-disk", "1GiB", "1073741824"),
    ("ballast", "1MiB", "'1MiB'"),
    ("max-connections", "12", "12"),
    ("max-connections-per-network", "11", "11"),
    ("streams-per-credential", "3", "3"),
    ("header-timeout", "1s", "'1s'"),
    ("body-memory", "5MiB", "'5MiB'"),
    ("body-timeout", "2s", "'2s'"),
    ("write-timeout", "7s", "'7s'"),
    ("idle-timeout", "3s", "'3s'"),
    ("drain-timeout", "4s", "'4s'"),
    ("log-format", "json", "'json'"),
    ("log-level", "trace", "'trace'"),
];

fn options() -> Vec<Arg> {
    let command = command();
    command.get_arguments().filter(|arg| arg.get_id() != "config").cloned().collect()
}

#[test]
fn every_option_has_a_row_in_these_tests() {
    let options: Vec<_> = options().iter().filter_map(|arg| arg.get_long().map(str::to_owned)).collect();
    let tested: Vec<_> = VALUES.iter().map(|(name, _, _)| (*name).to_owned()).collect();
    assert_eq!(options, tested);
}

#[test]
fn a_flag_and_a_key_of_the_file_give_the_same_configuration() {
    let default = from_flags(&[]).unwrap();
    for (name, value, toml) in VALUES {
        let by_flag = from_flags(&[&format!("--{name}={value}")]).unwrap();
        let by_file = from_file(&format!("# a comment\n{name} = {toml}\n"), &[]).unwrap();
        assert_eq!(by_flag, by_file, "{name}");
        assert_ne!(by_flag, default, "{name} has an effect");
    }
}

/// An environment cannot be changed safely in a running process, so this one starts itself with each variable, to
/// run the next test.
#[test]
fn a_flag_and_an_environment_variable_give_the_same_configuration() {
    for (name, value, _) in VALUES {
        let variable = format!("SETTLED_{}", name.to_uppercase().replace('-', "_"));
        let child = Process::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "config::tests::child_that_prints_its_configuration", "--nocapture"])
            .env(&variable, value)
            .output()
            .expect("this program starts");
        let by_flag = format!("{:?}", from_flags(&[&format!("--{name}={value}")]).unwrap());
        let printed = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(printed.contains(&by_flag), "{variable}: {printed}");
    }
}

#[test]
fn child_that_prints_its_configuration() {
    println!("{:?}", from_flags(&[]).unwrap());
}

#[test]
fn a_flag_beats_the_file() {
    let config = from_file("listen = '127.0.0.2:2'\nlog-level = 'debug'", &["--listen=127.0.0.3:3"]).unwrap();
    assert_eq!((config.listen.port(), config.log_level), (3, LogLevel::Debug));
}

#[test]
fn help_names_each_option_with_its_variable_and_its_default() {
    let help = command().term_width(1000).render_long_help().to_string();
    for arg in options() {
        let name = arg.get_long().unwrap_or_default();
        let after = if arg.is_require_equals_set() { '[' } else { ' ' };
        let (_, rest) = help.split_once(&format!("--{name}{after}")).expect(name);
        let own = rest.split("\n      --").next().unwrap_or_default();
        let variable = format!("[env: SETTLED_{}", name.to_uppercase().replace('-', "_"));
        // What the environment says is shown, but for what may hold a password.
        let end = if name == "smtp-url" { ']' } else { '=' };
        assert!(own.contains(&format!("{variable}{end}")), "{name}: {own}");
        assert!(own.contains("[default: "), "{name}: {own}");
    }
}

#[test]
fn a_mistyped_key_is_refused_with_its_line_and_the_nearest_option() {
    assert_eq!(
        refusal("listen = '127.0.0.1:1'\n\nlog-levle = 'info'\n"),
        "settled.toml, line 3: `log-levle` is not an option (did you mean `log-level`?)"
    );
    assert_eq!(refusal("zzz = 1"), "settled.toml, line 1: `zzz` is not an option");
    assert_eq!(refusal("config = 'other.toml'"), "settled.toml, line 1: `config` is not an option");
    assert_eq!(refusal("[log]\nlevel = 'info'"), "settled.toml, line 1: `log` is not an option");
}

#[test]
fn a_value_that_the_flag_would_refuse_is_refused_with_its_line() {
    let refused = [
        ("\nlisten = 'here'", "settled.toml, line 2: `listen` is refused: invalid socket address syntax"),
        ("log-format = 'xml'", "settled.toml, line 1: `log-format` must be one of human, json"),
        (
            "idle-timeout = 30",
            "settled.toml, line 1: `idle-timeout` is refused: expected a time such as 90s, 15m, 12h or 30d",
        ),
        (
            "password-queue = 0",
            "settled.toml, line 1: `password-queue` is refused: 0 is not in 1..=4294967295",
        ),
        (
            "listen = 1.5",
            "settled.toml, line 1: `listen` must be text, a whole number, true or false, or a list of text",
        ),
        ("data-dir = ['a', 'b']", "settled.toml, line 1: `data-dir` takes one value"),
    ];
    for (text, message) in refused {
        assert_eq!(refusal(text), message);
    }
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_its_line() {
    assert!(refusal("listen = '127.0.0.1:1'\nlisten\n").contains("line 2"));
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let matches = command().try_get_matches_from(["--config=/nowhere/settled.toml"]).unwrap();
    let error = File::find(&matches, &std::env::temp_dir()).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }));
}

#[test]
fn settled_toml_in_the_working_directory_is_read_without_asking() {
    let folder = tempfile::tempdir().unwrap();
    let matches = command().try_get_matches_from::<_, &str>([]).unwrap();
    assert!(File::find(&matches, folder.path()).unwrap().is_none());
    std::fs::write(folder.path().join("settled.toml"), "ballast = '1MiB'").unwrap();
    assert!(File::find(&matches, folder.path()).unwrap().is_some());
}

#[test]
fn the_root_key_comes_from_one_place() {
    let default = from_flags(&[]).unwrap().root_key();
    assert_eq!(default, RootKeySource::MadeAtFirstStart("./settled-data/root.key".into()));
    let error = from_flags(&["--root-key-env=A", "--root-key-file=b"]).unwrap_err();
    assert!(matches!(error, ConfigError::SeveralRootKeys));
    let flag_over_file = from_file("root-key-file = 'b'", &["--root-key-env=A"]).unwrap();
    assert_eq!(flag_over_file.root_key(), RootKeySource::Environment("A".into()));
}

#[test]
fn links_fall_back_to_the_address_that_is_listened_on() {
    let address = "127.0.0.1:7373".parse().unwrap();
    let url = |flags: &[&str]| from_flags(flags).unwrap().public_url(address);
    assert_eq!(url(&[]), "http://127.0.0.1:7373");
    assert_eq!(url(&["--tls-cert=a"]), "https://127.0.0.1:7373");
    assert_eq!(url(&["--public-url=https://settings.example.org/"]), "https://settings.example.org");
}

#[test]
fn mail_is_from_the_public_host_unless_another_address_is_given() {
    let from = |flags: &[&str]| from_flags(flags).unwrap().mail_from();
    assert_eq!(from(&[]), "settled@localhost");
    assert_eq!(from(&["--public-url=http://192.0.2.1:7373"]), "settled@localhost");
    assert_eq!(from(&["--public-url=https://settings.example.org"]), "settled@settings.example.org");
    assert_eq!(from(&["--mail-from=post@example.org"]), "post@example.org");
}

#[test]
fn mail_goes_one_way_and_a_wrong_servers_password_is_not_quoted() {
    let both = from_flags(&["--mail-dir=mail", "--smtp-url=smtp://localhost"]).unwrap_err();
    assert!(matches!(both, ConfigError::SeveralMails));
    for refused in [
        from_flags(&["--smtp-url=smtp://ada:hunter2@"]).unwrap_err(),
        from_file("smtp-url = 'http://ada:hunter2@localhost'", &[]).unwrap_err(),
    ] {
        assert!(matches!(refused, ConfigError::SmtpUrl(_)));
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
    }
}
