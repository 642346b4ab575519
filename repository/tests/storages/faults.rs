//! Faults between a client and its storage, for every storage that is reached by HTTP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use repository::{Backend, FailureKind, File, FileKind, Id, Put};
use testkit::{Effect, Fault, FaultProxy, SeenRequest};

use crate::suite::{file_of, noise};

/// How the requests of one storage are told apart, and a client that goes through the proxy.
pub(crate) struct Through<'a> {
    pub(crate) proxy: &'a FaultProxy,
    pub(crate) backend: Arc<dyn Backend>,
    /// Whether a request stores a file's content.
    pub(crate) is_put: fn(&SeenRequest) -> bool,
    /// Whether a request is for a list, or a page of one.
    pub(crate) is_list: fn(&SeenRequest) -> bool,
    /// Whether a list comes in pages.
    pub(crate) pages: bool,
}

impl Through<'_> {
    /// All of the checks below.
    pub(crate) async fn bears_faults(&self) {
        self.backend.create_folders().await.unwrap();
        self.short_failures_are_tried_again().await;
        self.a_put_that_is_cut_off_is_whole_or_absent().await;
        self.a_lost_answer_does_no_harm().await;
        self.lasting_failures_are_temporary_errors().await;
        self.a_list_that_breaks_off_is_never_a_shorter_one().await;
        self.proxy.remove_faults();
    }

    fn fault(&self, matcher: fn(&SeenRequest) -> bool, nth: usize, effect: Effect) {
        self.proxy.add(Fault::on(matcher).nth(nth).then(effect));
    }

    async fn put(&self, content: &Bytes) -> Result<File, repository::BackendError> {
        let file = file_of(FileKind::Pack, content);
        self.backend.put(file, content.clone()).await.map(|put| {
            assert_eq!(put, Put::Stored);
            file
        })
    }

    async fn short_failures_are_tried_again(&self) {
        let content = noise(2 << 20, 60);
        for effect in [
            Effect::Status(500),
            Effect::Status(503),
            Effect::TooManyRequests { retry_after: Duration::from_secs(1) },
            Effect::Reset,
        ] {
            self.proxy.remove_faults();
            self.fault(self.is_put, 1, effect.clone());
            self.fault(self.is_put, 2, effect.clone());
            let file = self.put(&content).await.unwrap_or_else(|e| panic!("{effect:?}: {e:?}"));
            self.fault(|_| true, 1, effect.clone());
            assert!(self.backend.get(file).await.unwrap() == content, "{effect:?}");
            self.fault(|_| true, 1, effect.clone());
            assert_eq!(self.backend.list(FileKind::Pack).await.unwrap().len(), 1, "{effect:?}");
            self.backend.delete(file).await.unwrap();
        }
        self.proxy.remove_faults();
        let file = self.put(&content).await.unwrap();
        self.fault(|_| true, 1, Effect::CutBody { after: 100_000 });
        self.fault(|_| true, 2, Effect::CutBody { after: 100_000 });
        assert!(self.backend.get(file).await.unwrap() == content, "a body that is cut");
        self.backend.delete(file).await.unwrap();
    }

    async fn a_put_that_is_cut_off_is_whole_or_absent(&self) {
        let content = noise(8 << 20, 61);
        self.proxy.remove_faults();
        self.fault(self.is_put, 1, Effect::CutUpload { after: 3 << 20 });
        let file = self.put(&content).await.expect("the second attempt");
        assert!(self.backend.get(file).await.unwrap() == content);
        self.backend.delete(file).await.unwrap();

        self.proxy.remove_faults();
        self.proxy.add(Fault::on(self.is_put).then(Effect::CutUpload { after: 3 << 20 }));
        let cut = self.put(&content).await.unwrap_err();
        assert_eq!(cut.kind(), FailureKind::Temporary, "{cut:?}");
        self.proxy.remove_faults();
        assert_eq!(self.backend.stat(file).await.unwrap(), None, "half a file must not have the name of a whole one");
        assert_eq!(self.backend.list(FileKind::Pack).await.unwrap(), []);
    }

    async fn a_lost_answer_does_no_harm(&self) {
        let content = noise(100_000, 62);
        self.proxy.remove_faults();
        self.fault(self.is_put, 1, Effect::LoseAnswer);
        let file = self.put(&content).await.expect("the file is there already");
        assert!(self.backend.get(file).await.unwrap() == content);
        self.fault(|request| request.method == "DELETE", 1, Effect::LoseAnswer);
        self.backend.delete(file).await.expect("it is gone already");
        assert_eq!(self.backend.stat(file).await.unwrap(), None);
    }

    async fn lasting_failures_are_temporary_errors(&self) {
        for effect in [Effect::Status(503), Effect::Reset, Effect::TooManyRequests { retry_after: Duration::ZERO }] {
            self.proxy.remove_faults();
            self.proxy.add(Fault::on(|_| true).then(effect.clone()));
            let missing = File::Named(FileKind::Snapshot, Id::of(b"missing"));
            for (what, failed) in [
                ("get", self.backend.get(missing).await.err()),
                ("stat", self.backend.stat(missing).await.err()),
                ("list", self.backend.list(FileKind::Snapshot).await.err()),
                ("delete", self.backend.delete(missing).await.err()),
                ("put", self.put(&noise(10, 63)).await.err()),
            ] {
                let kind = failed.as_ref().map(repository::BackendError::kind);
                assert_eq!(kind, Some(FailureKind::Temporary), "{effect:?}, {what}: {failed:?}");
            }
        }
        self.proxy.remove_faults();
    }

    async fn a_list_that_breaks_off_is_never_a_shorter_one(&self) {
        let contents: Vec<_> = (0..1_100).map(|n| Bytes::from(format!("name {n}"))).collect();
        let puts = contents.iter().map(|content| self.backend.put(file_of(FileKind::Index, content), content.clone()));
        for batch in collect_in_batches(puts, 16).await {
            batch.unwrap();
        }
        assert_eq!(self.backend.list(FileKind::Index).await.unwrap().len(), 1_100);
        // A store that pages lists answers the first page, and then fails.
        let first_to_fail = if self.pages { 2 } else { 1 };
        for effect in
            [Effect::Status(500), Effect::Reset, Effect::CutBody { after: 20_000 }, Effect::TruncateBody { to: 20_000 }]
        {
            self.proxy.remove_faults();
            let seen = std::sync::atomic::AtomicUsize::new(0);
            let is_list = self.is_list;
            self.proxy.add(
                Fault::on(move |request| {
                    is_list(request) && seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1 >= first_to_fail
                })
                .then(effect.clone()),
            );
            let list = self.backend.list(FileKind::Index).await;
            assert!(list.is_err(), "{effect:?}: {} names", list.unwrap().len());
        }
        self.proxy.remove_faults();
        assert_eq!(self.backend.list(FileKind::Index).await.unwrap().len(), 1_100);
    }
}

/// Runs futures, so many at once.
async fn collect_in_batches<F: Future>(futures: impl IntoIterator<Item = F>, at_once: usize) -> Vec<F::Output> {
    use futures::StreamExt as _;
    futures::stream::iter(futures).buffer_unordered(at_once).collect().await
}

/// A storage that takes a request and then says nothing: given up after the time that one attempt has, and tried again.
pub(crate) async fn a_body_that_stalls_is_tried_again(proxy: &FaultProxy, backend: &dyn Backend) {
    let content = noise(1 << 20, 64);
    let file = file_of(FileKind::Pack, &content);
    backend.create_folders().await.unwrap();
    backend.put(file, content.clone()).await.unwrap();
    proxy.add(Fault::on(|request| request.method == "GET").nth(1).then(Effect::StallBody { after: 300_000 }));
    let started = Instant::now();
    assert!(backend.get(file).await.unwrap() == content);
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}
