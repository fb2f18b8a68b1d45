"""BAKE for texts: which chapter of Python's own reference a paragraph comes from.

python examples/transformers_texts.py
"""

import re
import tempfile
from pydoc_data.topics import topics

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
    TrainingArguments,
)

from torchbake.integrations.transformers import BAKETrainer

# The six longest chapters of the text that Python's help() shows, by paragraphs.
chapters = sorted(topics, key=lambda name: len(topics[name]))[-6:]
texts = [
    (re.sub(r"\s+", " ", paragraph), label)
    for label, name in enumerate(chapters)
    for paragraph in topics[name].split("\n\n")
    if len(paragraph) > 80
]
tokens = Tokenizer(models.WordLevel(unk_token="[UNK]"))
tokens.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
special = ["[PAD]", "[UNK]"]
tokens.train_from_iterator(
    [text for text, _ in texts], trainers.WordLevelTrainer(vocab_size=1000, special_tokens=special)
)
tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokens, pad_token="[PAD]", unk_token="[UNK]")
examples = [
    {**tokenizer(text, truncation=True, max_length=32), "labels": label} for text, label in texts
]
train, test = [e for i, e in enumerate(examples) if i % 3], examples[::3]

torch.manual_seed(0)
size = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
config = BertConfig(vocab_size=1000, num_labels=len(chapters), **size)
trainer = BAKETrainer(
    BertForSequenceClassification(config),
    TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=32,
        num_train_epochs=6,
        learning_rate=5e-3,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    ),
    data_collator=DataCollatorWithPadding(tokenizer),
    train_dataset=train,
    labels=[example["labels"] for example in train],
    eval_dataset=test,
    compute_metrics=lambda p: {"top1": 100 * (p.predictions.argmax(1) == p.label_ids).mean()},
)
trainer.train()
print(f"top-1 {trainer.evaluate()['eval_top1']:.1f} %")
