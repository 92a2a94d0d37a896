"""An object storage for the tests, over moto. It makes a bucket and prints its port; it ends with its standard input."""

import os
import sys

os.environ.update(AWS_ACCESS_KEY_ID="tests", AWS_SECRET_ACCESS_KEY="tests", AWS_DEFAULT_REGION="us-east-1")

import boto3
from moto.server import ThreadedMotoServer

printed, sys.stdout = sys.stdout, sys.stderr
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="settled")
print(port, file=printed, flush=True)
sys.stdin.read()
