//! What BuildKit says of a build: steps that begin and end, and what their commands print. It comes as messages of
//! Protocol Buffers (`StatusResponse` of BuildKit's control API), of which the few fields that are shown are read here.

/// A part of what BuildKit says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// What a step is, and how it stands.
    Step(Step),
    /// What the command of a step printed.
    Output(Vec<u8>),
}

/// A step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Which one it is.
    pub(super) digest: String,
    /// Its name: `[2/3] RUN make`.
    pub(super) name: String,
    /// Whether it was taken from the cache.
    pub(super) cached: bool,
    /// Whether it has begun.
    pub(super) started: bool,
    /// Whether it has ended.
    pub(super) ended: bool,
    /// Why it failed; empty where it did not.
    pub(super) error: String,
}

/// Reads a `StatusResponse`. What cannot be read is left out: nothing but what is shown depends on it.
pub(super) fn read(message: &[u8]) -> Vec<Said> {
    let mut said = Vec::new();
    for (field, value) in Fields(message) {
        match field {
            1 => said.push(Said::Step(step(value))),
            3 => {
                // The output of a command is field 4 of a `VertexLog`.
                let output = Fields(value).filter(|(field, _)| *field == 4);
                said.extend(output.map(|(_, output)| Said::Output(output.to_vec())));
            }
            _ => {}
        }
    }
    said
}

fn step(vertex: &[u8]) -> Step {
    let mut step = Step::default();
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    for (field, value) in Fields(vertex) {
        match field {
            1 => step.digest = text(value),
            3 => step.name = text(value),
            4 => step.cached = value.first().is_some_and(|byte| *byte != 0),
            5 => step.started = true,
            6 => step.ended = true,
            7 => step.error = text(value),
            _ => {}
        }
    }
    step
}

/// The fields of a message: number and bytes. The bytes of a number are as they came.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.number()?;
        let length = match key & 7 {
            0 => self.0.iter().position(|byte| byte & 0x80 == 0)? + 1,
            1 => 8,
            2 => usize::try_from(self.number()?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (value, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some((key >> 3, value))
    }
}

impl Fields<'_> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn a_recorded_step_is_read() {
        // What an engine of version 28 said of a step that failed.
        let recorded = "CsICCkdzaGEyNTY6MjI1NmUxYTZhOTA5NWI2NDhjODgzYzZmNTQ5NjZhNmQyYjhmZmUxOGJiYmZjNjdmNzE2NTMyYzM2Mjg5OWQ1MBJHc2hhMjU2OmE2NmNmYTc5ZWYzOWFjODQyM2Y1NjliMDE4NzA4Y2RlMDZlZmQ5OTc4ZWMyNzA5ZTc2M2M2MDUzY2M4MGI1NjIaN1tvbmUgMi80XSBSVU4gLS1tb3VudD10eXBlPWNhY2hlLHRhcmdldD0vYyBlY2hvIGhpID4gL3gqDAjGyIHYBhCZpvCIAzIMCMbIgdgGENrKup0DOllwcm9jZXNzICIvYmluL3NoIC1jIGVjaG8gaGkgPiAveCIgZGlkIG5vdCBjb21wbGV0ZSBzdWNjZXNzZnVsbHk6IG5ldHdvcmsgYnJpZGdlIG5vdCBmb3VuZA==";
        let said = read(&STANDARD.decode(recorded).unwrap());
        let [Said::Step(step)] = said.as_slice() else { panic!("{said:?}") };
        assert_eq!(step.name, "[one 2/4] RUN --mount=type=cache,target=/c echo hi > /x");
        assert!(step.started && step.ended && !step.cached, "{step:?}");
        assert!(step.error.ends_with("network bridge not found"), "{step:?}");
    }

    #[test]
    fn output_is_read_and_what_is_cut_short_is_not() {
        let message = [0x1a, 6, 0x18, 1, 0x22, 2, b'h', b'i'];
        assert_eq!(read(&message), [Said::Output(b"hi".to_vec())]);
        for end in 0..message.len() {
            let _ = read(&message[..end]);
        }
        assert_eq!(read(&[0xff; 20]), []);
    }
}
