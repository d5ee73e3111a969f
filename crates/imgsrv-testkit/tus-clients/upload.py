"""Uploads a file with tuspy, as described by the JSON in the first argument, and prints the final offset."""

import json
import sys

from tusclient import client
from tusclient.storage.filestorage import FileStorage

job = json.loads(sys.argv[1])
tus = client.TusClient(job["endpoint"], headers={"Authorization": "Bearer " + job["token"]})
uploader = tus.uploader(
    job["file"],
    chunk_size=job["chunk"],
    metadata={"upload_session_id": job["id"]},
    store_url=True,
    url_storage=FileStorage(job["storage"]),
    upload_checksum=job["checksum"],
    retries=30,
    retry_delay=1,
)
print("starts at", uploader.offset, flush=True)
uploader.upload(stop_at=job.get("stop_at"))
print("offset", uploader.offset, flush=True)
