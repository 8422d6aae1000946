kafka_packages := rdkafka libcurl jansson
