use std::fs;

use burn_vlm::backend::Cpu;
use burn_vlm::{AskRequest, EncodedImage, LoadOptions, MultimodalPipeline};

use crate::random::Random;
use crate::support::copy_model;
use crate::watch::{CaughtPanics, finding};

/// What a user may write to be taken for the template.
const SPELLINGS: [&str; 14] = [
    "<s>", "</s>", "<image>", "<unk>", "<0x0A>", "</", "s>", "<", "IMAGE>", "x", " ", "\n",
    "USER: ", "[INST]",
];
/// What templates do with a message's text.
const READINGS: [&str; 12] = [
    "",
    "|trim",
    "|upper",
    "|lower",
    "|replace('x', '')",
    ".replace(' ', '')",
    ".split('x')|join('')",
    ".split('x')[0]",
    "[1:]",
    "[::-1]",
    ".strip('x')",
    "|string + 'x'",
];

/// No id of a control token comes from what a user writes, whatever the template does with it; a
/// template that cannot keep them apart is refused.
pub(crate) fn attempt(random: &mut Random) -> Option<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy_model("llava", folder.path());
    let reading = *random.pick(&READINGS);
    let template = format!(
        "<s>{{% for m in messages %}}{{{{ m.role }}}}: {{{{ (m.content){reading} }}}}</s>{{% endfor %}}"
    );
    fs::write(folder.path().join("chat_template.jinja"), &template).expect("a temporary folder");
    let spelled: String = (0..random.below(8) + 1)
        .map(|_| *random.pick(&SPELLINGS))
        .collect();
    finding(CaughtPanics::AreFindings, move || {
        let pipeline = match MultimodalPipeline::<Cpu>::open(folder.path(), &LoadOptions::new()) {
            Ok(pipeline) => pipeline,
            Err(error) => return Ok(Some(error.to_string())),
        };
        let control = ["<s>", "</s>", "<image>"].map(|token| pipeline.tokenizer().token_id(token));
        let control_ids = |text: &str| {
            let prompt = pipeline.prompt(&AskRequest::<EncodedImage<Cpu>>::new().user(text))?;
            let ids = prompt.ids.into_iter();
            Ok::<_, burn_vlm::Error>(
                ids.filter(|id| control.contains(&Some(*id)))
                    .collect::<Vec<_>>(),
            )
        };
        match (control_ids("Hello there."), control_ids(&spelled)) {
            (Ok(harmless), Ok(found)) if found != harmless => Err(format!(
                "{found:?} of {spelled:?} by {template:?}, not {harmless:?}"
            )),
            (_, Err(error)) => Ok(Some(error.to_string())),
            _ => Ok(None),
        }
    })
}
