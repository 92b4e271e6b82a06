//! Ask MiniGPT-v2 where something is, and draw what it answers onto the picture.
//!
//!     cargo run --release --example ground -- --model minigptv2_eval.yaml --task refer \
//!         --out found.png photo.jpg "the red car"

#[path = "common/model.rs"]
mod model;

use std::path::PathBuf;

use anyhow::{Context, Result};
use burn_vlm::{AskRequest, GroundedPhrase, ImageInput, PixelBox, TaskTag};
use clap::{Parser, ValueEnum};
use image::{Rgb, RgbImage};

use model::ModelArgs;

/// Draws the places in an answer.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    model: ModelArgs,
    /// What is asked for
    #[arg(long, value_name = "TASK", default_value = "refer")]
    task: Task,
    /// Where the picture with the places goes
    #[arg(long, value_name = "FILE", default_value = "found.png")]
    out: PathBuf,
    /// The picture
    #[arg(value_name = "PICTURE")]
    picture: PathBuf,
    /// What to look for
    #[arg(value_name = "TEXT")]
    text: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Task {
    Grounding,
    Refer,
    Detection,
}

/// Colours of the things found, one after another.
const COLORS: [[u8; 3]; 4] = [[230, 40, 40], [40, 120, 230], [30, 170, 80], [240, 170, 20]];

/// Pixels of a drawn line.
const LINE_WIDTH: u32 = 3;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let tag = match arguments.task {
        Task::Grounding => TaskTag::Grounding,
        Task::Refer => TaskTag::Refer,
        Task::Detection => TaskTag::Detection,
    };
    let pipeline = arguments.model.open()?;
    let picture = ImageInput::open(&arguments.picture)?;
    let size = picture.size();
    let mut drawing = RgbImage::from_raw(
        u32::try_from(size.width)?,
        u32::try_from(size.height)?,
        picture.rgb().to_vec(),
    )
    .context("a picture has three bytes a pixel")?;
    let mut request = AskRequest::new()
        .image(picture)
        .user(tag.ask(&arguments.text));
    if let Some(adapter) = &arguments.model.use_adapter {
        request = request.adapter(adapter);
    }
    let answer = pipeline.answer(&request)?;
    println!("{}", answer.text);
    for (index, found) in GroundedPhrase::all_in(&answer.text).iter().enumerate() {
        let color = Rgb(COLORS[index % COLORS.len()]);
        for place in &found.boxes {
            draw(&mut drawing, place.in_image(size), color);
        }
    }
    drawing
        .save(&arguments.out)
        .with_context(|| format!("cannot write {}", arguments.out.display()))
}

/// Draws the edges of a place, as far as they are on the picture.
fn draw(drawing: &mut RgbImage, place: PixelBox, color: Rgb<u8>) {
    let (width, height) = drawing.dimensions();
    let [left, right] = [place.left, place.right].map(|x| (x.round() as u32).min(width));
    let [top, bottom] = [place.top, place.bottom].map(|y| (y.round() as u32).min(height));
    for y in top..bottom {
        for x in left..right {
            let to_edge = (x - left)
                .min(right - 1 - x)
                .min((y - top).min(bottom - 1 - y));
            if to_edge < LINE_WIDTH {
                drawing.put_pixel(x, y, color);
            }
        }
    }
}
