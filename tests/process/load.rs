//! What a server is under when it dies: many connections that write configuration, and a writer of each section beside them.

use std::path::Path;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::journal::Journal;
use crate::process::{Login, Server};
use crate::sections::Sections;

/// Connections that write configuration, so that commits have many commands.
const CONNECTIONS: u64 = 6;

/// What was written to one store and acknowledged, over all of its lives.
pub struct Load {
    pub login: Login,
    pub journal: Arc<Journal>,
    pub sections: Arc<Sections>,
}

impl Load {
    /// Of a server that was not set up before, whose mails lie in a folder.
    pub async fn begin(server: &Server, mails: &Path) -> Self {
        let login = server.set_up().await;
        let sections = Arc::new(Sections::new(server, &login, mails).await);
        Self { login, journal: Arc::default(), sections }
    }

    /// Lets all of them write until the server is gone or the set is dropped.
    pub fn write(&self, server: &Server) -> JoinSet<()> {
        let mut writers = self.journal.write(server, &self.login, CONNECTIONS);
        self.sections.write(&mut writers, server, &self.login);
        writers
    }

    /// Holds the log and what is served against what was acknowledged.
    pub async fn verify(&self, server: &Server) {
        self.journal.verify(server, &self.login).await;
        self.sections.verify(server, &self.login).await;
    }

    /// How many requests were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.journal.acknowledged() + self.sections.acknowledged()
    }
}
