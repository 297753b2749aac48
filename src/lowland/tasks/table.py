"""The table of tasks. A new task is a new row here, and a file of its own if it is of a new kind."""

from __future__ import annotations

from typing import Any

from lowland.ground.mistakes import Mistake, gathering, one_of
from lowland.tasks.balanced import BalancedClassification
from lowland.tasks.base import Task
from lowland.tasks.classification import Classification, TableClassification, read_own_table
from lowland.tasks.examples import TaskData, TaskFields
from lowland.tasks.folders import FolderClassification, train_and_test
from lowland.tasks.images import ImageClassification
from lowland.tasks.instruction import Instruction, ShortAnswers, packaged_facts, read_own_instructions
from lowland.tasks.pairs import (
    MRPC_FROM_HUB,
    RTE_FROM_HUB,
    Pairs,
    TablePairs,
    read_mrpc,
    read_own_pairs,
    read_rte,
)
from lowland.tasks.question_answering import OwnQuestionAnswering, QuestionAnswering
from lowland.tasks.readers.originals import (
    phrasebank_from_hub,
    read_embedded,
    read_phrasebank,
    read_sms,
    sms_from_hub,
)
from lowland.tasks.readers.questions import squad_from_hub
from lowland.tasks.sentences import (
    COLA_FROM_HUB,
    SST2_FROM_HUB,
    Acceptability,
    cola_files,
    read_cola,
    read_sst2,
    sst2_files,
)
from lowland.tasks.text_to_text import TextToText, read_own_texts, repeated_words

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Classification(
            "financial-demo",
            "three-way sentiment of company news, written for this project; comes with it",
            fetch=lambda: read_embedded("financial_demo.csv"),
        ),
        Classification(
            "financial-phrasebank",
            "three-way sentiment of financial news (Malo et al., 2014); from the hub, or --data Sentences_50Agree.txt",
            read=read_phrasebank,
            fetch=phrasebank_from_hub,
        ),
        Classification(
            "sms-spam",
            "spam or ham (Almeida & Hidalgo, 2011); from the hub, or --data SMSSpamCollection",
            read=read_sms,
            fetch=sms_from_hub,
        ),
        BalancedClassification(
            "sms-spam-balanced",
            "sms-spam with as many messages of each label, 747 and 747; from the hub, or --data SMSSpamCollection",
            read=read_sms,
            fetch=sms_from_hub,
        ),
        FolderClassification(
            "sst2",
            "positive or negative sentences of film reviews (Socher et al., 2013; GLUE); from the hub, or --data FOLDER"
            " of the original files",
            read=read_sst2,
            fetch=SST2_FROM_HUB,
            files=sst2_files,
        ),
        Acceptability(
            "cola",
            "grammatical or not, with the Matthews correlation (Warstadt et al., 2019; GLUE); from the hub, or --data"
            " FOLDER of the original files",
            read=read_cola,
            fetch=COLA_FROM_HUB,
            files=cola_files,
        ),
        TableClassification(
            "classification",
            "your own texts: --data FILE --text-column NAME --label-column NAME (.csv, .jsonl, .parquet, .xlsx, …)",
            read=read_own_table,
        ),
        Pairs(
            "mrpc",
            "paraphrases or not (Dolan & Brockett, 2005); from the hub, or --data FOLDER of the original files",
            read=read_mrpc,
            fetch=MRPC_FROM_HUB,
            files=train_and_test("msr_paraphrase_train.txt", "msr_paraphrase_test.txt"),
        ),
        Pairs(
            "rte",
            "entailment or not (GLUE; Wang et al., 2019); from the hub, or --data FOLDER of the original files",
            read=read_rte,
            fetch=RTE_FROM_HUB,
            files=train_and_test("train.tsv", "dev.tsv"),
        ),
        TablePairs(
            "pairs",
            "your own pairs: --data FILE --first-column NAME --second-column NAME --label-column NAME",
            read=read_own_pairs,
        ),
        QuestionAnswering(
            "squad-v2",
            "the part of a text that answers a question, or none (Rajpurkar et al., 2018); from the hub, or --data"
            " dev-v2.0.json",
            fetch=squad_from_hub,
        ),
        OwnQuestionAnswering(
            "question-answering",
            "your own questions about texts that hold the answers: --data FILE in SQuAD's form, or a table",
        ),
        TextToText(
            "repeat",
            'a toy for encoder-decoders: "repeat: hello" -> "hello hello"',
            fetch=repeated_words,
        ),
        TextToText(
            "text-to-text",
            "your own texts for encoder-decoders: --data FILE --source-column NAME --target-column NAME",
            read=read_own_texts,
        ),
        Instruction(
            "instruction",
            "your own prompts with completions, or chats, for decoders: --data FILE.jsonl",
            read=read_own_instructions,
        ),
        ShortAnswers(
            "short-answers",
            "your own questions with short answers, for decoders; without --data, the retriever's facts",
            read=read_own_instructions,
            fetch=packaged_facts,
        ),
        ImageClassification(
            "image-classification",
            "your own images: --data FOLDER, with a folder for each class; for models such as ViT and CLIP",
        ),
    )
}


def task_named(name: str) -> Task:
    """Return the task of that name.

    Raises:
        Mistake: if there is none; the sentence names the nearest match.
    """
    if name not in TASKS:
        raise Mistake(one_of("task", name, TASKS))
    return TASKS[name]


def task_fields(name: str, **values: Any) -> TaskFields:
    """Return the checked fields of a task.

    Raises:
        Mistake: if there is no such task, or it has no such field, or a value is out of range.
    """
    model = task_named(name).fields
    foreign = [key for key in values if key not in model.model_fields and _tasks_with(key)]
    problems = [f"{name} has no field {key}; it belongs to {_tasks_with(key)}" for key in foreign]
    with gathering(problems):
        fields = model(name=name, **{key: value for key, value in values.items() if key not in foreign})
    if problems:
        raise Mistake(*problems)
    return fields


def _tasks_with(field: str) -> str:
    """Return the names of the tasks that have a field, joined by "and"; "" if none has it."""
    return " and ".join(task.name for task in TASKS.values() if field in task.fields.model_fields)


def load_data(fields: TaskFields) -> TaskData:
    """Read and split the data that the fields of a task ask for.

    Raises:
        Mistake: if a file is missing, cannot be read, or does not hold what the task needs.
    """
    return task_named(fields.name).load(fields)
