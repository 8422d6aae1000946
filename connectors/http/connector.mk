http_packages := libcurl jansson libcrypto
