"""Into Kafka: sources of frames, cutting, publishing."""
