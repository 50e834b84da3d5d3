"""CLIP scores: laws of cosines, and the shipped CLIP on pictures whose caption is known."""

from itertools import islice

import numpy as np
import pytest
import torch
from torchmetrics.multimodal import CLIPScore
from transformers import CLIPProcessor

from genrender.errors import ModelError
from genrender.metrics.clip_score import ClipScorer, frame_consistency, prompt_fidelity
from genrender.train.subjects import held_out_samples


@pytest.fixture(scope="module")
def scorer() -> ClipScorer:
    return ClipScorer.load()


def test_embeddings_have_length_one_and_equal_pictures_agree(scorer):
    frames = np.repeat(np.random.default_rng(0).random((1, 96, 128, 3)), 3, axis=0)
    images = scorer.embed_images(frames)
    torch.testing.assert_close(images.norm(dim=1), torch.ones(3))
    assert frame_consistency(images) == pytest.approx(1.0, abs=1e-5)
    texts = scorer.embed_texts(["a red fox", "a blue cube on a green background"])
    assert prompt_fidelity(images, texts[0]) == pytest.approx(float(images[0] @ texts[0]), abs=1e-5)


class PlainFeatures:
    """A CLIP whose features are tensors: torchmetrics does not know transformers 5's output objects yet."""

    def __init__(self, model):
        self.model = model

    def __getattr__(self, name):
        return getattr(self.model, name)

    def to(self, device):
        return PlainFeatures(self.model.to(device))

    def get_image_features(self, *args, **options):
        return features(self.model.get_image_features(*args, **options))

    def get_text_features(self, *args, **options):
        return features(self.model.get_text_features(*args, **options))


def features(output):
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def test_prompt_fidelity_agrees_with_torchmetrics(scorer):
    """Theirs is the mean cosine times 100, or 0 where that is negative."""
    processor = CLIPProcessor(scorer.processor, scorer.tokenizer)
    theirs = CLIPScore(lambda: (PlainFeatures(scorer.model), processor))
    samples = list(islice(held_out_samples(128), 4))
    frames = np.stack([sample.image for sample in samples]) / 255
    text = samples[0].caption
    pictures = [torch.from_numpy(sample.image).permute(2, 0, 1) for sample in samples]
    images = scorer.embed_images(frames)
    ours = prompt_fidelity(images, scorer.embed_texts([text])[0])
    with torch.no_grad():
        score = float(theirs(pictures, [text] * 4))
    assert ours > 0, "below 0 they say 0, and nothing would be compared"
    assert score == pytest.approx(100 * ours, rel=1e-3)


def test_pictures_in_many_batches_are_those_of_one(scorer, monkeypatch):
    frames = np.random.default_rng(1).random((5, 128, 128, 3))
    whole = scorer.embed_images(frames)
    monkeypatch.setattr("genrender.metrics.clip_score.BATCH", 2)
    torch.testing.assert_close(scorer.embed_images(frames), whole, atol=1e-5, rtol=0)


def test_unseen_pictures_find_their_captions(scorer):
    samples = list(islice(held_out_samples(128), 40))
    images = scorer.embed_images(np.stack([sample.image for sample in samples]) / 255)
    found = (images @ scorer.embed_texts([sample.caption for sample in samples]).T).argmax(1)
    # By chance one of forty; ten or more with probability 1e-8.
    assert (found == torch.arange(40)).float().mean() > 0.5


def test_a_missing_model_is_said_in_one_line(tmp_path):
    with pytest.raises(ModelError, match="no CLIP model"):
        ClipScorer.load(tmp_path)


def test_a_file_is_no_model(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"no CLIP model .*config\.json: it is a file; give a folder"):
        ClipScorer.load(tmp_path / "config.json")
