//! `preprocessor_config.json`, and the `image_processor` part of `processor_config.json`.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::any_resolution::{AnyResolution, PINPOINTS, read_pinpoints};
use super::preprocess::{BYTE_SCALE, Normalization, Padding, checked_edge};
use super::processor::{CLIP, PROCESSORS, Processor};
use super::splitting::Splitting;
use super::tiling::Tiling;
use super::{ImageSize, PreprocessConfig, ResampleFilter, ResizeTo};
use crate::error::{ConfigError, Result, visible};
use crate::files::python_json;

/// `processor_config.json` keeps the image processor in a part of its own.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct ProcessorFile {
    image_processor: Option<ProcessorJson>,
}

/// The fields of an image processor that change what it computes.
///
/// `do_convert_rgb` is not among them: a picture is RGB before it comes here.
#[derive(Deserialize)]
#[serde(expecting = "the object of an image processor")]
struct ProcessorJson {
    image_processor_type: Option<String>,
    feature_extractor_type: Option<String>,
    do_resize: Option<bool>,
    size: Option<SizeJson>,
    resample: Option<Value>,
    do_center_crop: Option<bool>,
    crop_size: Option<SizeJson>,
    do_pad: Option<bool>,
    pad_size: Option<Value>,
    do_rescale: Option<bool>,
    rescale_factor: Option<f64>,
    do_normalize: Option<bool>,
    image_mean: Option<ChannelsJson>,
    image_std: Option<ChannelsJson>,
    do_image_splitting: Option<bool>,
    max_image_size: Option<EdgesJson>,
    image_grid_pinpoints: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a number of pixels or an object of edges")]
enum SizeJson {
    Edge(usize),
    Edges(EdgesJson),
}

#[derive(Deserialize)]
struct EdgesJson {
    height: Option<usize>,
    width: Option<usize>,
    shortest_edge: Option<usize>,
    longest_edge: Option<usize>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a number or a list of three numbers")]
enum ChannelsJson {
    All(f64),
    Each([f64; 3]),
}

impl PreprocessConfig {
    /// Reads `preprocessor_config.json`, or the image processor's part of a file.
    ///
    /// Where the file is silent, the defaults of its processor class hold; where it names none, that
    /// of the model, `class`. `path` only names the file in messages.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Malformed`] when `json` is no JSON or a field has the wrong type;
    /// [`ConfigError::Missing`] when no image processor is described; [`ConfigError::Unsupported`]
    /// and [`ConfigError::OutOfRange`] when a value cannot be followed.
    pub(crate) fn from_json(path: &Path, json: &[u8], class: Option<&str>) -> Result<Self> {
        let file: ProcessorFile = parse(path, json)?;
        let processor = match file.image_processor {
            Some(processor) => processor,
            None => parse(path, json)?,
        };
        Ok(processor.into_config(class)?)
    }

    /// Reads the image processor's part of `processor_config.json`, which older ones lack.
    ///
    /// # Errors
    ///
    /// As [`from_json`](Self::from_json).
    pub(crate) fn from_processor_json(
        path: &Path,
        json: &[u8],
        class: Option<&str>,
    ) -> Result<Option<Self>> {
        let file: ProcessorFile = parse(path, json)?;
        let part = file.image_processor;
        Ok(part.map(|part| part.into_config(class)).transpose()?)
    }
}

/// Of a key that is repeated, the last counts, as in Python. Only then is the file read by way of
/// values, which do not know their places.
fn parse<T: DeserializeOwned>(path: &Path, json: &[u8]) -> Result<T, ConfigError> {
    let json = python_json(json);
    let by_values = |error| {
        let values = serde_json::from_slice(&json).and_then(serde_json::from_value::<T>);
        values.or(Err(error))
    };
    let parsed = serde_json::from_slice(&json).or_else(by_values);
    parsed.map_err(|error: serde_json::Error| ConfigError::Malformed {
        path: path.to_path_buf(),
        reason: error.to_string(),
    })
}

impl ProcessorJson {
    fn into_config(self, class: Option<&str>) -> Result<PreprocessConfig, ConfigError> {
        let processor = self.processor(class)?;
        self.refuse_tiles(processor)?;
        let mean = ChannelsJson::or(&self.image_mean, processor.mean);
        let std = ChannelsJson::or(&self.image_std, processor.std);
        let config = PreprocessConfig {
            padding: self.padding(processor, mean)?,
            resize: self.resize(processor)?,
            tiling: self.tiling(processor)?,
            crop_size: self.crop(processor)?,
            rescale_factor: self.rescale()?,
            normalization: self
                .do_normalize
                .unwrap_or(true)
                .then_some(Normalization { mean, std }),
        };
        check_values(&config)?;
        Ok(config)
    }

    /// The class, whose name may carry its implementation or be the one of an old version.
    fn processor(&self, class: Option<&str>) -> Result<&'static Processor, ConfigError> {
        let name = self.image_processor_type.as_deref();
        let name = name.or(self.feature_extractor_type.as_deref()).or(class);
        let Some(name) = name else {
            let missing = || ConfigError::Missing {
                field: "image_processor_type".to_string(),
            };
            return self.size.as_ref().map(|_| &CLIP).ok_or_else(missing);
        };
        let stem = ["Fast", "Pil"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix));
        let stem = stem
            .unwrap_or(name)
            .replace("FeatureExtractor", "ImageProcessor");
        PROCESSORS
            .into_iter()
            .find(|processor| processor.name == stem)
            .ok_or_else(|| {
                let supported = PROCESSORS.map(|processor| processor.name);
                unsupported("image_processor_type", name, &supported)
            })
    }

    fn tiling(&self, processor: &Processor) -> Result<Option<Tiling>, ConfigError> {
        match processor.pinpoints {
            Some(default) => self.any_resolution(processor, default).map(Some),
            None => Ok(self.splitting(processor)?.map(Tiling::Splitting)),
        }
    }

    /// # Errors
    ///
    /// [`ConfigError::OutOfRange`] if the sizes are none of whole tiles, or if tiles are resized once
    /// more behind the cut: no grid of features belongs to them then.
    fn any_resolution(
        &self,
        processor: &Processor,
        default: &[[usize; 2]],
    ) -> Result<Tiling, ConfigError> {
        let resize_to = self.resize_to(processor)?;
        let squashed = match resize_to {
            ResizeTo::ShortestEdge(edge) => ImageSize::square(edge),
            ResizeTo::Exact(size) => size,
            ResizeTo::LongestEdge(_) | ResizeTo::ShortestEdgeWithin { .. } => {
                let known = ["shortest_edge", "height and width"];
                return Err(unsupported("size", "longest_edge", &known));
            }
        };
        let cut = match &self.crop_size {
            Some(SizeJson::Edge(edge)) => ImageSize::square(checked_edge("crop_size", *edge)?),
            Some(SizeJson::Edges(edges)) => edges.crop_size()?,
            None => processor.crop_size.unwrap_or(squashed),
        };
        let tile = cut.height;
        if [squashed, cut] != [ImageSize::square(tile); 2] {
            return Err(ConfigError::OutOfRange {
                field: "crop_size".to_string(),
                found: format!("{} x {}", cut.height, cut.width),
                expected: format!(
                    "a square of the size that pictures are resized to, which is {} x {}",
                    squashed.height, squashed.width
                ),
            });
        }
        let default = json!(default);
        let sizes = self.image_grid_pinpoints.as_ref().unwrap_or(&default);
        let out_of_range = || ConfigError::OutOfRange {
            field: "image_grid_pinpoints".to_string(),
            found: visible(&sizes.to_string()).to_string(),
            expected: PINPOINTS.to_string(),
        };
        Ok(Tiling::AnyResolution(AnyResolution {
            tile,
            pinpoints: read_pinpoints(sizes, tile).ok_or_else(out_of_range)?,
            filter: self.filter(processor)?,
        }))
    }

    /// # Errors
    ///
    /// [`ConfigError::OutOfRange`] if a picture could become more tiles than any model was trained
    /// with, [`ConfigError::Unsupported`] if nothing bounds its size.
    fn splitting(&self, processor: &Processor) -> Result<Option<Splitting>, ConfigError> {
        /// Most tiles a side; 12 are the most of any processor.
        const MAX_TILES: usize = 32;
        let Some(default) = processor.tile else {
            return Ok(None);
        };
        let edge = self
            .max_image_size
            .as_ref()
            .and_then(|size| size.longest_edge);
        let tile = checked_edge("max_image_size.longest_edge", edge.unwrap_or(default))?;
        let Some((resize_to, filter)) = self.resize(processor)? else {
            return Err(unsupported("do_resize", "false", &["true"]));
        };
        let longest = match resize_to {
            ResizeTo::Exact(size) => size.longest_edge(),
            ResizeTo::LongestEdge(edge) => edge,
            ResizeTo::ShortestEdge(_) | ResizeTo::ShortestEdgeWithin { .. } => {
                return Err(unsupported(
                    "size",
                    "shortest_edge",
                    &["longest_edge", "height and width"],
                ));
            }
        };
        if longest.div_ceil(tile) > MAX_TILES {
            return Err(ConfigError::OutOfRange {
                field: "max_image_size.longest_edge".to_string(),
                found: tile.to_string(),
                expected: format!(
                    "at least {}: a side has {longest} pixels",
                    longest.div_ceil(MAX_TILES)
                ),
            });
        }
        Ok(Some(Splitting {
            tile,
            is_split: self.do_image_splitting.unwrap_or(true),
            filter,
        }))
    }

    fn refuse_tiles(&self, processor: &Processor) -> Result<(), ConfigError> {
        if self.do_image_splitting == Some(true) && processor.tile.is_none() {
            return Err(unsupported("do_image_splitting", "true", &["false"]));
        }
        match &self.image_grid_pinpoints {
            Some(pinpoints) if processor.pinpoints.is_none() => Err(unsupported(
                "image_grid_pinpoints",
                &pinpoints.to_string(),
                &["null"],
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn padding(&self, processor: &Processor, mean: [f64; 3]) -> Result<Padding, ConfigError> {
        if self.do_pad != Some(true) {
            return Ok(Padding::None);
        }
        if let Some(pad_size) = &self.pad_size {
            return Err(unsupported("pad_size", &pad_size.to_string(), &["null"]));
        }
        if !processor.pads_to_square {
            log::debug!(
                "do_pad of {} has no effect on a single picture",
                processor.name
            );
            return Ok(Padding::None);
        }
        Ok(Padding::square_of_mean(mean))
    }

    fn resize(
        &self,
        processor: &Processor,
    ) -> Result<Option<(ResizeTo, ResampleFilter)>, ConfigError> {
        if self.do_resize == Some(false) {
            return Ok(None);
        }
        Ok(Some((self.resize_to(processor)?, self.filter(processor)?)))
    }

    fn resize_to(&self, processor: &Processor) -> Result<ResizeTo, ConfigError> {
        match &self.size {
            Some(SizeJson::Edge(edge)) => {
                Ok((processor.size_from_edge)(checked_edge("size", *edge)?))
            }
            Some(SizeJson::Edges(edges)) => edges.resize_to(),
            None => Ok(processor.resize_to),
        }
    }

    fn filter(&self, processor: &Processor) -> Result<ResampleFilter, ConfigError> {
        let Some(resample) = &self.resample else {
            return Ok(processor.filter);
        };
        resample
            .as_u64()
            .and_then(ResampleFilter::from_id)
            .ok_or_else(|| {
                let supported =
                    ResampleFilter::ALL.map(|filter| format!("{} ({filter:?})", filter.id()));
                unsupported("resample", &resample.to_string(), &supported)
            })
    }

    fn crop(&self, processor: &Processor) -> Result<Option<ImageSize>, ConfigError> {
        if !self.do_center_crop.unwrap_or(processor.crop_size.is_some()) {
            return Ok(None);
        }
        match &self.crop_size {
            Some(SizeJson::Edge(edge)) => {
                Ok(Some(ImageSize::square(checked_edge("crop_size", *edge)?)))
            }
            Some(SizeJson::Edges(edges)) => edges.crop_size().map(Some),
            None if processor.crop_size.is_some() => Ok(processor.crop_size),
            None => Err(ConfigError::Missing {
                field: "crop_size".to_string(),
            }),
        }
    }

    fn rescale(&self) -> Result<Option<f64>, ConfigError> {
        if self.do_rescale == Some(false) {
            return Ok(None);
        }
        let factor = self.rescale_factor.unwrap_or(BYTE_SCALE);
        if factor > 0.0 && factor <= 1.0 {
            return Ok(Some(factor));
        }
        Err(out_of_range(
            "rescale_factor",
            factor,
            "a number above 0, at most 1",
        ))
    }
}

impl EdgesJson {
    fn resize_to(&self) -> Result<ResizeTo, ConfigError> {
        match (
            self.height,
            self.width,
            self.shortest_edge,
            self.longest_edge,
        ) {
            (Some(height), Some(width), None, None) => {
                Ok(ResizeTo::Exact(sides("size", height, width)?))
            }
            (None, None, Some(edge), None) => Ok(ResizeTo::ShortestEdge(checked_edge(
                "size.shortest_edge",
                edge,
            )?)),
            (None, None, None, Some(edge)) => Ok(ResizeTo::LongestEdge(checked_edge(
                "size.longest_edge",
                edge,
            )?)),
            (None, None, Some(shortest), Some(longest)) => Ok(ResizeTo::ShortestEdgeWithin {
                shortest_edge: checked_edge("size.shortest_edge", shortest)?,
                longest_edge: checked_edge("size.longest_edge", longest)?,
            }),
            _ => Err(unsupported(
                "size",
                &self.names(),
                &[
                    "height and width",
                    "shortest_edge",
                    "longest_edge",
                    "shortest_edge and longest_edge",
                ],
            )),
        }
    }

    fn crop_size(&self) -> Result<ImageSize, ConfigError> {
        match (
            self.height,
            self.width,
            self.shortest_edge,
            self.longest_edge,
        ) {
            (Some(height), Some(width), None, None) => sides("crop_size", height, width),
            _ => Err(unsupported(
                "crop_size",
                &self.names(),
                &["height and width"],
            )),
        }
    }

    /// The edges that are given, for messages.
    fn names(&self) -> String {
        let named = [
            ("height", self.height),
            ("width", self.width),
            ("shortest_edge", self.shortest_edge),
            ("longest_edge", self.longest_edge),
        ];
        let given: Vec<_> = named.iter().filter(|(_, edge)| edge.is_some()).collect();
        match given.as_slice() {
            [] => "an object without edges".to_string(),
            given => given
                .iter()
                .map(|(name, _)| *name)
                .collect::<Vec<_>>()
                .join(" and "),
        }
    }
}

fn sides(field: &str, height: usize, width: usize) -> Result<ImageSize, ConfigError> {
    Ok(ImageSize::new(
        checked_edge(&format!("{field}.height"), height)?,
        checked_edge(&format!("{field}.width"), width)?,
    ))
}

impl ChannelsJson {
    fn or(channels: &Option<Self>, default: [f64; 3]) -> [f64; 3] {
        match channels {
            Some(Self::All(value)) => [*value; 3],
            Some(Self::Each(values)) => *values,
            None => default,
        }
    }
}

/// Values that are not numbers would only show as an empty answer, far from their cause.
fn check_values(config: &PreprocessConfig) -> Result<(), ConfigError> {
    let Some(Normalization { std, .. }) = config.normalization else {
        return Ok(());
    };
    if let Some(&deviation) = std.iter().find(|&&deviation| deviation <= 0.0) {
        return Err(out_of_range("image_std", deviation, "numbers above 0"));
    }
    if config
        .value_tables()
        .as_flattened()
        .iter()
        .any(|value| !value.is_finite())
    {
        return Err(ConfigError::OutOfRange {
            field: "image_std".to_string(),
            found: format!("{std:?}"),
            expected: "values that keep (pixel - image_mean) / image_std finite".to_string(),
        });
    }
    Ok(())
}

fn out_of_range(field: &str, found: f64, expected: &str) -> ConfigError {
    let (field, found, expected) = (field.to_string(), found.to_string(), expected.to_string());
    ConfigError::OutOfRange {
        field,
        found,
        expected,
    }
}

fn unsupported(field: &str, found: &str, supported: &[impl ToString]) -> ConfigError {
    ConfigError::Unsupported {
        field: field.to_string(),
        found: found.to_string(),
        supported: supported.iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests;
