//! `kubectl stash backup`: dump and repository in one process.

use std::{
    future::Future,
    io::ErrorKind,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use dumper::{
    filter::{Filter, Pattern},
    ledger::Ledger,
    service::{self, DumpError, DumpOptions, Progress},
    sink::{RepositorySink, has_ended},
    target::{Application, Target},
};
use repository::{
    Backup, BackupOptions, FinishOptions, InitOptions, KdfParams, PARTIAL_TAG, Repository, Summary, Version,
};

use crate::{
    args::{BackupArgs, ClusterArgs, Output},
    cluster::Cluster,
    exit::{self, Failure, note},
    progress::{Display, State},
    signals::Signals,
};
use report::{Report, Timings};

mod report;

/// Backs up, prints the result, and says by the exit code whether it is complete.
pub(crate) async fn run(cluster: &ClusterArgs, args: Box<BackupArgs>) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let access = args.repository.access()?;
    let cluster = cluster.connect().await?;
    let options = dump_options(&args, &cluster)?;
    let text = args.output == Output::Text;
    if text {
        let target = options.target.describe(&[]);
        note(&format!("Backing up {target} of {} into {}", cluster.server, access.backend.location()));
    }
    let mut signals = Signals::listen()?;
    let (repository, created) = tokio::select! {
        opened = open(&args, access, &cluster) => opened?,
        () = signals.next() => return Err(Failure::Interrupted),
    };
    let open = started.elapsed();
    if created {
        let format = if repository.version() == Version::V1 { 1 } else { 2 };
        note(&format!("Created repository {} (format {format})", &repository.id()[..10]));
    }
    let (ledger, summary, dump) = dump_into(&cluster, &args, &options, &repository, &mut signals).await?;
    let total = started.elapsed();
    let timings = Timings { open, dump, finish: total - open - dump, total };
    let report = Report {
        repository: repository.id(),
        ledger: &ledger,
        summary: &summary,
        timings,
        requests: cluster.api.requests(),
    };
    match exit::print(report.render(args.output).as_bytes()) {
        // Whoever stopped reading still gets the exit code of the backup.
        Err(Failure::Output(source)) if source.kind() != ErrorKind::BrokenPipe => {
            return Err(Failure::Report { snapshot: summary.snapshot.id.to_string(), source });
        }
        _ => {}
    }
    Ok(if ledger.is_complete() { ExitCode::SUCCESS } else { ExitCode::from(exit::PARTIAL) })
}

fn dump_options(args: &BackupArgs, cluster: &Cluster) -> Result<DumpOptions, Failure> {
    let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::new(text)).collect();
    let target = match (&args.target, args.all_namespaces) {
        (Some(target), _) => {
            let named = target.split_once('/').filter(|(kind, name)| !kind.is_empty() && !name.is_empty());
            let (kind, name) = named.ok_or_else(|| Failure::TargetNotation(target.clone()))?;
            Target::Application(Application {
                kind: kind.to_owned(),
                name: name.to_owned(),
                namespace: cluster.namespace.clone(),
                include_dependants: args.include_dependants,
            })
        }
        (None, true) => Target::Cluster,
        (None, false) => Target::Namespace(cluster.namespace.clone()),
    };
    let patterns_of_namespaces = !args.include_namespaces.is_empty() || !args.exclude_namespaces.is_empty();
    if patterns_of_namespaces && matches!(target, Target::Namespace(_)) {
        return Err(Failure::NamespacePatterns);
    }
    Ok(DumpOptions {
        target,
        filter: Filter {
            include: patterns(&args.include_resources),
            exclude: patterns(&args.exclude_resources),
            include_namespaces: patterns(&args.include_namespaces),
            exclude_namespaces: patterns(&args.exclude_namespaces),
            label_selector: args.selector.clone(),
            field_selector: args.field_selector.clone(),
        },
        sanitize: args.sanitize,
        kinds_in_flight: args.concurrency,
        page_objects: args.chunk_size,
    })
}

/// Opens the repository; creates it where there is none and that was not ruled out. A cluster that does not answer leaves no empty
/// repository behind.
async fn open(
    args: &BackupArgs,
    access: crate::access::Access,
    cluster: &Cluster,
) -> Result<(Repository, bool), Failure> {
    let opened = Repository::open(access.backend.clone(), &access.password).await;
    match opened {
        Err(repository::Error::NotFound { .. }) if !args.no_init => {
            cluster.answers().await?;
            let version = if args.repository_version == 1 { Version::V1 } else { Version::V2 };
            let options = InitOptions { version, kdf: KdfParams::default() };
            let repository = Repository::open_or_init(access.backend, &access.password, options).await;
            Ok((repository.map_err(Failure::repository("create the repository"))?, true))
        }
        opened => Ok((opened.map_err(Failure::repository("open the repository"))?, false)),
    }
}

/// Dumps into a new snapshot; returns how long the dump took, too.
async fn dump_into(
    cluster: &Cluster,
    args: &BackupArgs,
    options: &DumpOptions,
    repository: &Repository,
    signals: &mut Signals,
) -> Result<(Ledger, Summary, Duration), Failure> {
    let started = Instant::now();
    let backup = BackupOptions {
        host: args.host.clone(),
        tags: args.tags.clone(),
        verify: !args.no_verify,
        retry_lock: args.lock.retry_lock,
        ..BackupOptions::default()
    };
    let backup = repository.backup(backup).await.map_err(Failure::repository("begin the backup"))?;
    let sink = Arc::new(RepositorySink::new(backup));
    let progress = Arc::new(Progress::default());
    let dumped = {
        let dump = service::dump(&cluster.api, options, &sink, &progress);
        tokio::select! {
            dumped = showing(dump, &progress, args.output == Output::Json) => Some(dumped),
            () = signals.next() => None,
        }
    };
    let ended = async {
        let backup = sink.into_backup().await;
        match dumped {
            Some(Ok(ledger)) => Ok((ledger, backup)),
            Some(Err(error)) => Err(given_up(backup, error, cluster).await),
            None => match backup.abort().await {
                Ok(()) => Err(Failure::Interrupted),
                Err(error) => Err(Failure::repository("give the backup up")(error)),
            },
        }
    };
    let (ledger, backup) = unless_stopped(ended, signals).await??;
    let dump = started.elapsed();
    let tags = if ledger.is_complete() { Vec::new() } else { vec![PARTIAL_TAG.to_owned()] };
    let summary = save(backup, FinishOptions { tags }, signals).await?;
    Ok((ledger, summary, dump))
}

/// Saves the snapshot. Everything has been read by now: the first signal only says so.
async fn save(backup: Backup, options: FinishOptions, signals: &mut Signals) -> Result<Summary, Failure> {
    let finish = backup.finish(options);
    tokio::pin!(finish);
    let summary = tokio::select! {
        summary = &mut finish => summary,
        () = signals.next() => {
            note("Everything has been read; saving the snapshot. Interrupt again to stop all the same.");
            unless_stopped(finish, signals).await?
        }
    };
    summary.map_err(Failure::repository("save the snapshot"))
}

/// Waits for work that must not be cut off, unless one more signal insists: storage may hang.
async fn unless_stopped<T>(work: impl Future<Output = T>, signals: &mut Signals) -> Result<T, Failure> {
    tokio::select! {
        done = work => Ok(done),
        () = signals.next() => Err(Failure::Stopped),
    }
}

/// Ends the backup after a failed dump and returns the failure that came first.
async fn given_up(backup: Backup, error: DumpError, cluster: &Cluster) -> Failure {
    if matches!(&error, DumpError::Sink(sink) if has_ended(sink)) {
        if let Err(cause) = backup.prepare().await {
            return Failure::repository("store the dump")(cause);
        }
    } else if let Err(lock) = backup.abort().await {
        note(&format!("The lock on the repository could not be removed ({lock}); the next backup removes it."));
    }
    Failure::Dump { server: cluster.server.clone(), source: Box::new(error) }
}

/// Runs a dump while showing how far it is.
async fn showing<T>(dump: impl Future<Output = T>, progress: &Progress, quiet: bool) -> T {
    let mut display = Display::new(quiet);
    let mut ticks = tokio::time::interval(display.interval());
    tokio::pin!(dump);
    loop {
        tokio::select! {
            done = &mut dump => return done,
            _ = ticks.tick() => {
                let now = progress.now();
                display.show(State { kinds: now.kinds, kinds_done: now.kinds_done, objects: now.objects, bytes: now.bytes_read });
            }
        }
    }
}
