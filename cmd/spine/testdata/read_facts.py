"""Reads topics to their end with Confluent's Avro deserialiser, knowing nothing of Spine.

read_facts.py BROKERS REGISTRY_URL TOPIC...  prints one JSON object a record: decimals as text, times as RFC 3339.
"""

import datetime
import decimal
import json
import sys
import uuid

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext


def plain(value):
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    return value


def main(brokers, registry, topics):
    deserialise = AvroDeserializer(SchemaRegistryClient({"url": registry}))
    consumer = Consumer({
        "bootstrap.servers": brokers,
        "group.id": "python-reader",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
    })
    ends = {}
    for topic in topics:
        for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
            if high > low:
                ends[topic, partition] = high
    consumer.assign([TopicPartition(t, p, OFFSET_BEGINNING) for t, p in ends])
    while ends:
        message = consumer.poll(10)
        if message is None:
            sys.exit(f"no record within 10 s; still to come: {ends}")
        if message.error():
            sys.exit(f"reading: {message.error()}")
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        value = deserialise(message.value(), SerializationContext(topic, MessageField.VALUE))
        headers = {name: raw.decode("utf-8") for name, raw in message.headers() or []}
        print(json.dumps({
            "topic": topic, "partition": partition, "offset": offset, "key": message.key().decode("utf-8"),
            "headers": headers, "data": plain(value),
        }))
        if offset + 1 >= ends.get((topic, partition), 0):
            ends.pop((topic, partition), None)
    consumer.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
