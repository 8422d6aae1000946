rabbitmq_packages := librabbitmq
