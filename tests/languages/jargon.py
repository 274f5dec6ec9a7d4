"""Words that a person who writes to a bot must never read, by language."""

from __future__ import annotations

import re

#: Words of programs in general, and of this one, whole or as the beginning of a longer word (written with a star).
WORDS: dict[str, str] = {
    "en": (
        "api backend backoff boolean botguard breaker cache callback canonical* circuit class claim* codec config* "
        "database deadline* debug* decimal dict dispatch* effect endpoint enum exception* field fingerprint* float guard* "
        "handler* hash* header idempoten* instance integer invalid json key keys lease* lock locked log mutex none null "
        "object outcome* parameter* parse* parsing payload* permission* pipeline* pydantic queue* rate regex* replay* "
        "resolve* retr* schema* server session sql sqlite stack stage status store stored string throttl* timeout* "
        "token* traceback transaction* tuple unicode utf* validat* value"
    ),
    "de": (
        "api backend botguard callback datenbank* debug* endpunkt* exception* feld* fingerabdruck* handler* hash* "
        "idempoten* instanz* json klasse* konfiguration* null nutzlast* objekt* parameter* parse* payload* pipeline* "
        "puffer* queue* schema* schlüssel* server* session sperre* sql* status string* timeout* token* traceback "
        "transaktion* tupel typ unicode utf* validier* validator* warteschlange* wert zeitüberschreitung* ausnahme* "
        "fehlercode* eingabefeld*"
    ),
    "ru": (
        "база* баз* валидац* валидатор* дедлайн* журнал* идемпотент* исключен* класс* ключ* кортеж* кэш* лог логи "
        "обработчик* объект* отпечат* параметр* пайплайн* поле поля сервер* сессия статус* строк* схем* таймаут* "
        "тайм-аут* тип токен* транзакц* хеш* хэш* хост* экземпляр* эффект* юникод* null none json"
    ),
}
#: What a line of text may say though it looks like one of them: "auf einer Zeile" is no string.
_ALLOWED = {"ru": {"строку"}}
_PATTERNS = {
    language: re.compile(
        r"(?<![\w-])(?:"
        + "|".join(re.escape(word).replace(r"\*", r"[\w-]*") for word in words.split())
        + r")(?![\w-])",
        re.IGNORECASE,
    )
    for language, words in WORDS.items()
}
#: Names of code: snake_case, CamelCase, calls, brackets, numbers in hexadecimal.
_CODE = re.compile(r"\b(?:[A-Z][a-z]+){2,}\b|\b[a-z]+_[a-z_]+\b|\w+\(\)|\b0x|[\[\]\\]")
_PLACE = re.compile(r"\{\w+\}")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


def offences(text: str, language: str) -> list[str]:
    """Everything in a sentence that is not for people. What a person or a host wrote stands in quotes or in places."""
    plain = _QUOTED.sub("''", _PLACE.sub("…", text))
    found = [*_PATTERNS[language].findall(plain), *_PATTERNS["en"].findall(plain), *_CODE.findall(plain)]
    return [word for word in found if word.lower() not in _ALLOWED.get(language, set())]
