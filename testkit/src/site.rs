//! Where a server runs: on the machine's loopback, or in the namespaces of a [`crate::Node`].
//!
//! A server in the namespaces is started by nsenter, and dies with it: `setpriv --pdeathsig` asks the kernel for that, so
//! that [`crate::Server`]'s guard needs to know of one process only. Signals other than its end do not reach it.

use std::{ffi::OsString, net::Ipv4Addr};

use crate::server::ServerCommand;

/// Moves into the folder as the namespaces see it, then becomes the server.
const ENTER: &str = r#"cd "$1"; shift; exec setpriv --pdeathsig KILL "$@""#;

/// A place for servers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Site {
    /// The machine's own network, on 127.0.0.1.
    #[default]
    Loopback,
    /// The namespaces of a node.
    Node {
        /// Number of their first process.
        init: u32,
        /// Where servers in them are reached, from inside and from the machine.
        address: Ipv4Addr,
    },
}

impl Site {
    /// The address that servers listen on and are reached under.
    pub(crate) fn address(self) -> Ipv4Addr {
        match self {
            Self::Loopback => Ipv4Addr::LOCALHOST,
            Self::Node { address, .. } => address,
        }
    }

    /// The command that does the same in this place.
    pub(crate) fn command(self, command: ServerCommand) -> ServerCommand {
        let Self::Node { init, .. } = self else { return command };
        let mut arguments: Vec<OsString> = ["--mount", "--net", "--pid", "--target"].map(OsString::from).into();
        arguments.extend(
            [init.to_string(), "--".into(), "sh".into(), "-c".into(), ENTER.into(), "enter".into()].map(OsString::from),
        );
        arguments.push(command.folder.clone().into());
        arguments.push(command.program.into());
        arguments.extend(command.arguments);
        ServerCommand { program: "nsenter".into(), arguments, ..command }
    }
}
