//! Images: pulled, or built from a `build` section.

use super::{COMPOSE_VERSION, Project, resources};
use crate::driver::Work;
use crate::driver::docker::{self, BuildSecret, BuildSecretSource, ImageBuild, ImageSpec};
use crate::manifest::compose::model::{Build, Container, MountKind, PullPolicy};
use crate::name::NodeId;
use crate::stack::{Node, task};

impl Project<'_> {
    /// The node that has the image of a service: a build of the service's own, or of the service whose build gives the
    /// image that name, or a pull.
    pub(super) fn image(&self, container: &Container) -> Node {
        let reference = container.image_name(self.name.as_str());
        let builds = |other: &&Container| other.build.is_some() && other.image_name(self.name.as_str()) == reference;
        let builder = Some(container).filter(|own| own.build.is_some());
        let builder = builder.or_else(|| self.compose.services.values().find(builds));
        let spec = |container: &Container| ImageSpec {
            reference: reference.clone(),
            platform: container.platform.clone(),
            pull: policy(container.pull_policy.as_ref()),
            build: container.build.as_ref().map(|build| Box::new(self.build(container, build, &reference))),
        };
        match builder {
            Some(builder) => task(NodeId::Build(builder.name.clone()), Work::Image(spec(builder))),
            None => task(NodeId::Image(reference.as_str().into()), Work::Image(spec(container))),
        }
    }

    fn build(&self, container: &Container, build: &Build, reference: &str) -> ImageBuild {
        let mut labels = build.labels.clone();
        for (name, value) in
            [("project", self.name.as_str()), ("service", container.name.as_str()), ("version", COMPOSE_VERSION)]
        {
            labels.insert(format!("com.docker.compose.{name}"), value.to_owned());
        }
        let context = |address: &String| match address.strip_prefix("service:") {
            // Built before: its service is needed, see `build_needs`.
            Some(service) => {
                let other = self.compose.services.iter().find(|(name, _)| name.as_str() == service);
                let image = other.map(|(_, other)| other.image_name(self.name.as_str())).unwrap_or_default();
                format!("docker-image://{image}")
            }
            None => address.clone(),
        };
        let secret = |one: &crate::manifest::compose::model::FileReference| {
            let key = one.source.as_ref()?;
            let object = self.compose.secrets.get(key)?;
            let source = match (&object.file, &object.environment) {
                (Some(file), _) => BuildSecretSource::File(file.clone()),
                (None, Some(variable)) => BuildSecretSource::Variable(variable.clone()),
                (None, None) => return None,
            };
            Some(BuildSecret { id: one.target.clone().unwrap_or_else(|| key.clone()), source })
        };
        let mut entitlements = build.entitlements.clone();
        entitlements.extend(build.privileged.then(|| "security.insecure".to_owned()));
        ImageBuild {
            named: !container.image.is_empty(),
            context: build.context.clone().unwrap_or_else(|| self.compose.working_dir.display().to_string()),
            dockerfile: build.dockerfile.clone().unwrap_or_else(|| "Dockerfile".to_owned()),
            inline: build.dockerfile_inline.clone(),
            tags: std::iter::once(reference.to_owned()).chain(build.tags.iter().cloned()).collect(),
            args: build.args.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect(),
            labels,
            target: build.target.clone(),
            network: build.network.clone(),
            extra_hosts: build.extra_hosts.iter().map(|(host, ip)| format!("{host}:{ip}")).collect(),
            cache_from: build.cache_from.clone(),
            cache_to: build.cache_to.clone(),
            no_cache: build.no_cache,
            pull: build.pull,
            platforms: build.platforms.clone(),
            shm_size: build.shm_size.get(),
            ulimits: resources::ulimits(&build.ulimits),
            isolation: build.isolation.clone(),
            contexts: build.additional_contexts.iter().map(|(name, at)| (name.clone(), context(at))).collect(),
            ssh: build
                .ssh
                .iter()
                .map(|key| match &key.path {
                    Some(path) => format!("{}={path}", key.id),
                    None => key.id.clone(),
                })
                .collect(),
            secrets: build.secrets.iter().filter_map(secret).collect(),
            entitlements,
            provenance: build.provenance.clone(),
            sbom: build.sbom.clone(),
        }
    }
}

/// The nodes of images that are mounted.
pub(super) fn mounted_images(container: &Container) -> Vec<Node> {
    let mounted = container.mounts.iter().filter(|mount| mount.kind == MountKind::Image);
    let node = |reference: &String| {
        let (reference, pull) = (reference.clone(), docker::PullPolicy::Missing);
        let spec = ImageSpec { reference: reference.clone(), platform: None, pull, build: None };
        task(NodeId::Image(reference.as_str().into()), Work::Image(spec))
    };
    mounted.filter_map(|mount| mount.source.as_ref()).map(node).collect()
}

fn policy(said: Option<&PullPolicy>) -> docker::PullPolicy {
    match said {
        None | Some(PullPolicy::Missing | PullPolicy::Refresh { after: None, .. }) => docker::PullPolicy::Missing,
        Some(PullPolicy::Always) => docker::PullPolicy::Always,
        Some(PullPolicy::Never) => docker::PullPolicy::Never,
        Some(PullPolicy::Build) => docker::PullPolicy::Build,
        Some(PullPolicy::Refresh { after: Some(after), .. }) => docker::PullPolicy::Refresh(*after),
    }
}
