// Uploads a file with tus-js-client, as described by the JSON in the first argument, and prints the final offset.

import { createReadStream } from 'node:fs'
import { FileUrlStorage, Upload } from 'tus-js-client'

const job = JSON.parse(process.argv[2])
let offset = 0
const upload = new Upload(createReadStream(job.file), {
  endpoint: job.endpoint,
  headers: { Authorization: `Bearer ${job.token}` },
  metadata: { upload_session_id: job.id },
  chunkSize: job.chunk ?? Infinity,
  uploadDataDuringCreation: job.with_creation ?? false,
  urlStorage: new FileUrlStorage(job.storage),
  retryDelays: Array(30).fill(500),
  onProgress: async (sent) => {
    if (job.stop_at && sent >= job.stop_at) {
      job.stop_at = undefined
      await upload.abort()
      console.log('stopped at', sent)
      process.exit(0)
    }
  },
  onChunkComplete: (_, accepted) => { offset = accepted },
  onError: (error) => {
    console.error(String(error))
    process.exit(1)
  },
  onSuccess: () => {
    console.log('offset', offset)
    process.exit(0)
  },
})
const [previous] = await upload.findPreviousUploads()
if (previous) upload.resumeFromPreviousUpload(previous)
console.log('starts', previous ? 'again' : 'anew')
upload.start()
