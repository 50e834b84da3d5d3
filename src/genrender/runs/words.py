"""Words of a prompt that a model was never taught."""

from genrender.backbones.sources import read_vocabulary, unknown_words
from genrender.backbones.suggest import nearest_word
from genrender.config import RunConfig
from genrender.runs.hooks import RunHooks


def warn_of_unknown_words(config: RunConfig, folder: str, hooks: RunHooks) -> None:
    """Names the words that the model in `folder` does not know, where it says which it knows.

    Raises:
        ModelError: `vocabulary.json` is no list of words.
    """
    vocabulary = read_vocabulary(folder)
    if vocabulary is None:
        return
    others = (text for _, text in (*config.object_prompts, *config.prompts_at))
    texts = (config.prompt, config.negative_prompt or "", *others)
    unknown = unknown_words(" ".join(texts), vocabulary)
    if unknown:
        nearest = {word: nearest_word(word, vocabulary) for word in unknown}
        words = (f"{word} (try {known})" if known else word for word, known in nearest.items())
        hooks.warn(f"the model does not know these words of the prompt: {', '.join(words)}")
