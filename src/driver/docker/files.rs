//! Secrets and configs whose content is not a file of this machine: written into the container before it is started.

use bollard::query_parameters::UploadToContainerOptions;

use super::Docker;
use super::error::Error;
use super::spec::File;
use crate::os::clock;

/// Writes the files, as `docker compose` does: one archive for each, owners kept where one is said.
pub(super) async fn write(docker: &Docker, container: &str, files: &[File]) -> Result<(), Error> {
    for file in files {
        let doing = || format!("write `{}` into the container `{container}`", file.path);
        let archive = archive(file).map_err(|source| Error::BadAnswer { doing: doing(), source: Box::new(source) })?;
        let options = UploadToContainerOptions {
            path: "/".to_owned(),
            copy_uidgid: file.owner.map(|_| "true".to_owned()),
            ..UploadToContainerOptions::default()
        };
        let body = bollard::body_full(archive.into());
        let sent = docker.client().upload_to_container(container, Some(options), body).await;
        sent.map_err(|error| Error::from_call(doing(), error))?;
    }
    Ok(())
}

fn archive(file: &File) -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    let (user, group) = file.owner.unwrap_or_default();
    header.set_uid(user);
    header.set_gid(group);
    header.set_mode(file.mode);
    header.set_mtime(u64::try_from(clock::timestamp().as_second()).unwrap_or_default());
    header.set_size(file.content.len() as u64);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, file.path.trim_start_matches('/'), file.content.as_bytes())?;
    archive.into_inner()
}
