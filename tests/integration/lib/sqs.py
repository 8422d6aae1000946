"""Amazon SQS's JSON protocol (docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference), as strict as
AWS: signatures and their time, types, bounds, receipts, message groups, checksums."""

import base64
import hashlib
import json
import re
import struct
import time

from lib.http_queue import Answer, HttpQueueServer, Message, Queue, Wrong
from lib.sigv4 import Key, Refused, check

REGION = "eu-central-1"
ACCOUNT = "123456789012"
KEY_ID, SECRET = "AKIASLUICETESTS00001", "wJalrXUtnFEMI/K7MDENG+s3cr3t-of-tests/KEY"
_ATTRIBUTE = re.compile(r"(?!(?i:aws|amazon)\.)(?!\.)(?!.*\.\.)[\w.-]{1,256}(?<!\.)", re.ASCII)
_SYSTEM = ("SenderId", "SentTimestamp", "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp")
_PARAMETERS = {
    "GetQueueUrl": {"QueueName": str, "QueueOwnerAWSAccountId": str},
    "GetQueueAttributes": {"QueueUrl": str, "AttributeNames": list},
    "ReceiveMessage": {"QueueUrl": str, "MaxNumberOfMessages": int, "VisibilityTimeout": int,
                       "WaitTimeSeconds": int, "MessageSystemAttributeNames": list,
                       "MessageAttributeNames": list},
    "DeleteMessageBatch": {"QueueUrl": str, "Entries": list},
    "ChangeMessageVisibilityBatch": {"QueueUrl": str, "Entries": list},
    "SendMessage": {"QueueUrl": str, "MessageBody": str, "MessageAttributes": dict, "DelaySeconds": int,
                    "MessageGroupId": str, "MessageDeduplicationId": str},
}


def error(code, message, status=400):
    return Answer(status, {"__type": f"com.amazonaws.sqs#{code}", "message": message},
                  {"Content-Type": "application/x-amz-json-1.0"})


def is_body(text):
    """The characters that SQS takes."""
    return all(c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c >= "\U00010000"
               for c in text)


def size_of(text, attributes):
    """What counts for the limit: the body, and names, types and values of attributes."""
    return len(text.encode()) + sum(
        len(name.encode()) + len("".join(attribute.values()).encode())
        for name, attribute in attributes.items())


def md5_of_attributes(attributes):
    """As the developer guide describes it."""
    digest = hashlib.md5()
    for name, attribute in sorted(attributes.items()):
        binary = attribute["DataType"].startswith("Binary")
        value = base64.b64decode(attribute["BinaryValue"]) if binary else attribute["StringValue"].encode()
        for part in (name.encode(), attribute["DataType"].encode()):
            digest.update(struct.pack(">I", len(part)) + part)
        digest.update((b"\2" if binary else b"\1") + struct.pack(">I", len(value)) + value)
    return digest.hexdigest()


class SqsQueue(Queue):
    """With `is_fifo` nothing of a group is given out while something of it is in flight."""

    def __init__(self, name):
        super().__init__(strict_keys=name.endswith(".fifo"))
        self.name, self.is_fifo = name, name.endswith(".fifo")
        self.deduplication = {}
        self.redrive = None  # its own redrive policy, as SQS tells it
        self.deadline = 0  # what a receive asks for counts

    def _again_from(self, message):
        """What follows stays as it is."""


class Sqs(HttpQueueServer):
    """`keys`: id -> Key. `poll`: most seconds that a receive is held open, whatever it asks for."""

    def __init__(self, **options):
        self.keys = {KEY_ID: Key(SECRET)}
        self.queues = {}
        self.poll = 1.0
        self.may_get = True  # attributes
        self.failing = {}  # receipt's message id -> codes of the next failures in batches
        self.most = 1 << 20  # bytes of a message with its attributes
        super().__init__(**options)

    def queue(self, name="orders"):
        with self.changes:
            self.queues[name] = SqsQueue(name)
            return self.queues[name]

    def url(self, queue):
        return f"{self.origin}/{ACCOUNT}/{queue.name}"

    def produce(self, queue, bodies, group=None, attributes=None):
        with self.changes:
            for body in bodies:
                queue.add(Message(body, group, attributes))

    def now(self):
        return time.time() + self.ahead

    # -- the API --

    def api(self, request):
        service, _, request.name = request.headers.get("x-amz-target", "").partition(".")
        if request.method != "POST" or request.path != "/" or service != "AmazonSQS":
            raise Wrong("not a POST of an action to /", error("UnknownOperationException", "?", 404))
        if request.headers.get("content-type") != "application/x-amz-json-1.0":
            raise Wrong("Content-Type", error("SerializationException", "?"))
        try:
            check(request, self.keys, REGION, "sqs", self.now())
        except Refused as refused:
            raise Wrong("", error(refused.code, refused.message, 403)) from None
        allowed = _PARAMETERS.get(request.name)
        if allowed is None:
            raise Wrong("unknown action", error("UnknownOperationException", "?", 404))
        body = json.loads(request.body)
        for name, value in body.items():
            if name not in allowed or type(value) is not allowed[name]:
                self._refuse(f"parameter {name}: {value!r}")
        if request.name == "GetQueueUrl":
            return self._GetQueueUrl(body)
        queue = self._find(body.get("QueueUrl", ""))
        if request.name == "ReceiveMessage":
            return self._ReceiveMessage(queue, body)
        with self.changes:
            return getattr(self, f"_{request.name}")(queue, body)

    @staticmethod
    def _refuse(what, code="InvalidParameterValue"):
        raise Wrong(what, error(code, what))

    def _find(self, url):
        base, _, name = url.rpartition("/")
        if base != f"{self.origin}/{ACCOUNT}":
            self._refuse(f"the address {url}", "InvalidAddress")
        if name not in self.queues:
            raise Wrong("", error("QueueDoesNotExist", "The specified queue does not exist."))
        return self.queues[name]

    def _GetQueueUrl(self, body):
        name = body.get("QueueName")
        if body.get("QueueOwnerAWSAccountId", ACCOUNT) != ACCOUNT or name not in self.queues:
            raise Wrong("", error("QueueDoesNotExist", "The specified queue does not exist."))
        return Answer(200, {"QueueUrl": self.url(self.queues[name])})

    def _ReceiveMessage(self, queue, body):
        most, lease = body.get("MaxNumberOfMessages", 1), body.get("VisibilityTimeout", 30)
        wait = body.get("WaitTimeSeconds", 0)
        if not 1 <= most <= 10 or not 0 <= lease <= 43200 or not 0 <= wait <= 20:
            self._refuse(f"bounds: {body}")
        if body.get("MessageSystemAttributeNames") != ["All"] or body.get("MessageAttributeNames") != ["All"]:
            self._refuse("without its attributes")
        taken = self.long_poll(lambda: queue.take(most, queue.deadline or lease), min(wait, self.poll))
        if not taken or taken == ["closing"]:
            return Answer(200, {})
        return Answer(200, {"Messages": [self._message(queue, message) for message in taken]})

    def _message(self, queue, message):
        told = {"MessageId": message.id, "ReceiptHandle": message.receipt, "Body": message.body,
                "MD5OfBody": hashlib.md5(message.body.encode()).hexdigest(),
                "Attributes": {
                    "SenderId": "AIDASLUICE", "SentTimestamp": str(message.born_ms),
                    "ApproximateReceiveCount": str(message.attempts),
                    "ApproximateFirstReceiveTimestamp": str(message.born_ms + 1)}}
        if queue.is_fifo:
            told["Attributes"].update({
                "MessageGroupId": message.key, "MessageDeduplicationId": message.id,
                "SequenceNumber": f"{queue.messages.index(message):020}"})
        if message.attributes:
            told["MessageAttributes"] = message.attributes
            told["MD5OfMessageAttributes"] = md5_of_attributes(message.attributes)
        return told

    def _GetQueueAttributes(self, queue, body):
        name = next(name for name, each in self.queues.items() if each is queue)
        known = {"QueueArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}",
                 "ApproximateNumberOfMessages": str(len(queue.left()) - len(queue.leased()))}
        asked = body.get("AttributeNames") or []
        if not self.may_get:
            return error("AccessDeniedException", "User is not authorized to perform: sqs:GetQueueAttributes", 403)
        if not asked or set(asked) - {*known, "RedrivePolicy"}:
            self._refuse(f"attributes {asked}, which sluice does not need")
        if queue.redrive:
            known["RedrivePolicy"] = json.dumps(queue.redrive)
        return Answer(200, {"Attributes": {name: known[name] for name in asked if name in known}})

    def _entries(self, body, names):
        entries = body.get("Entries")
        if not entries or len(entries) > 10:
            self._refuse(f"{len(entries or ())} entries", "TooManyEntriesInBatchRequest")
        for entry in entries:
            if set(entry) != set(names) or not re.fullmatch(r"[\w-]{1,80}", entry["Id"]):
                self._refuse(f"entry {entry}", "InvalidBatchEntryId")
        if len({entry["Id"] for entry in entries}) != len(entries):
            self._refuse("ids twice", "BatchEntryIdsNotDistinct")
        return entries

    def _batch(self, queue, entries, act):
        done, failed = [], []
        for entry in entries:
            message = queue.receipts.get(entry["ReceiptHandle"])
            code = "ReceiptHandleIsInvalid" if message is None else None
            if message and self.failing.get(message.id):
                code = self.failing[message.id].pop(0)
            if not code and not act(entry):
                code = "InvalidParameterValue"
            if code:
                failed.append({"Id": entry["Id"], "Code": code, "Message": "?",
                               "SenderFault": code != "InternalError"})
            else:
                done.append({"Id": entry["Id"]})
        return Answer(200, {"Successful": done, "Failed": failed})

    def _DeleteMessageBatch(self, queue, body):
        entries = self._entries(body, ("Id", "ReceiptHandle"))
        return self._batch(queue, entries, lambda entry: (
            queue.settle(entry["ReceiptHandle"]) or not queue.is_fifo))

    def _ChangeMessageVisibilityBatch(self, queue, body):
        entries = self._entries(body, ("Id", "ReceiptHandle", "VisibilityTimeout"))

        def change(entry):
            seconds = entry["VisibilityTimeout"]
            if type(seconds) is not int or not 0 <= seconds <= 43200:
                self._refuse(f"VisibilityTimeout {seconds}")
            if seconds == 0:
                return queue.release(entry["ReceiptHandle"], 0)
            return queue.extend(entry["ReceiptHandle"], seconds)
        return self._batch(queue, entries, change)

    def _SendMessage(self, queue, body):
        text, attributes = body.get("MessageBody", ""), body.get("MessageAttributes", {})
        if not text or not is_body(text):
            self._refuse("the body", "InvalidMessageContents")
        if size_of(text, attributes) > self.most:
            raise Wrong("", error("InvalidParameterValue", "One or more parameters are invalid. Reason: "
                                  f"Message must be shorter than {self.most} bytes."))
        if len(attributes) > 10:
            self._refuse(f"{len(attributes)} attributes")
        for name, attribute in attributes.items():
            binary = attribute.get("DataType", "").startswith("Binary")
            field = "BinaryValue" if binary else "StringValue"
            if not _ATTRIBUTE.fullmatch(name) or set(attribute) != {"DataType", field} or \
                    not re.match("String|Number|Binary", attribute["DataType"]) or not attribute[field] or \
                    not is_body(attribute[field]):
                self._refuse(f"attribute {name}: {attribute}")
        group, identity = body.get("MessageGroupId"), body.get("MessageDeduplicationId")
        if queue.is_fifo and (not group or not identity or "DelaySeconds" in body or any(
                not re.fullmatch(r"[!-~]{1,128}", name) for name in (group, identity))):
            self._refuse(f"group {group}, id {identity}")
        if not queue.is_fifo and (group or identity):
            self._refuse("a group")
        message = queue.deduplication.get(identity)
        if message is None:
            message = Message(text, group, attributes)
            queue.add(message)
            if identity:
                queue.deduplication[identity] = message
        told = {"MessageId": message.id, "MD5OfMessageBody": hashlib.md5(text.encode()).hexdigest()}
        return Answer(200, told)
