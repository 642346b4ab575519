//! Reads one namespace: the Namespace object itself, and everything in it.

use std::sync::Arc;

use super::{Dump, DumpError, Read, left_out, pager::Wanted, query, render::Placement, unread::Tolerance};
use crate::{api::ApiError, discovery::Collection, sink::Sink, target::TargetError};

impl<S: Sink> Dump<S> {
    pub(super) async fn namespace(&self, collections: &[Collection], name: &str) -> Result<Vec<Read>, DumpError> {
        let placement = Arc::new(Placement::Namespace);
        let own = collections.iter().find(|own| own.group.is_empty() && own.resource == "namespaces");
        let mut reads = Vec::new();
        if let Some(own) = own {
            self.check_existence(own, name).await?;
            reads.push(self.namespace_object(own, name, &placement).await?);
        }
        let namespaced = collections.iter().filter(|collection| collection.namespaced);
        reads.extend(self.read_all(namespaced, Some(name), &placement).await?);
        Ok(reads)
    }

    /// In a namespace that does not exist every list is empty, and a slip of the pen would be a complete backup of nothing.
    /// Whoever may not ask is believed.
    async fn check_existence(&self, own: &Collection, name: &str) -> Result<(), DumpError> {
        match self.find(own, None, name).await {
            Ok(None) => {
                let (label, name) = ("Namespace".to_owned(), name.to_owned());
                Err(TargetError::NotFound { label, name, namespace: None }.into())
            }
            Ok(Some(_)) | Err(ApiError::Status(_)) => Ok(()),
            Err(source) => Err(DumpError::FirstList { path: own.path(None), source }),
        }
    }

    /// The Namespace object itself. Where it may not be read that is no failure: its name is known, and who may read what
    /// is in a namespace often may not list namespaces.
    async fn namespace_object(
        &self,
        own: &Collection,
        name: &str,
        placement: &Arc<Placement>,
    ) -> Result<Read, DumpError> {
        if let Some(reason) = self.options.filter.excludes_collection(own) {
            return Ok(left_out(own, reason));
        }
        let mut selector = query::named(name);
        if let Some(fields) = &self.options.filter.field_selector {
            selector = format!("{selector},{fields}");
        }
        let label_selector = self.options.filter.label_selector.as_deref();
        let wanted = Wanted { collection: own, namespace: None, label_selector, field_selector: Some(&selector) };
        let tolerance = Tolerance { forbidden: true, ..self.tolerance() };
        self.listing(wanted, tolerance, placement).read().await
    }
}
