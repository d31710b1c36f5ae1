/* Runs one signature of a SavedModel through TensorFlow's C API, without Python.
 *
 *   reader DIR REPEATS in TENSOR TYPE RANK DIM... FILE   (for each input)
 *                      out TENSOR FILE                   (for each output)
 *
 * TENSOR is a name in the graph such as "encode_x:0"; assets.extra/manifest.json lists them for every signature. TYPE
 * is float32, float64 or int32; files hold the raw numbers in row-major order. After one run that is not counted,
 * REPEATS runs are timed. Prints for each output its type, its shape and its file, and the median time of a run.
 *
 * Compile against the wheel of TensorFlow (DIR=$(python -c "import tensorflow, os; print(os.path.dirname(tensorflow.__file__))")):
 *
 *   gcc -O2 reader.c -o reader -I$DIR/include -L$DIR -l:libtensorflow_cc.so.2 -l:libtensorflow_framework.so.2 \
 *       -Wl,-rpath,$DIR
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tensorflow/c/c_api.h"

#define MOST 16

static void fail(const char *what, const char *detail) {
  fprintf(stderr, "%s: %s\n", what, detail);
  exit(1);
}

static void check(TF_Status *status, const char *what) {
  if (TF_GetCode(status) != TF_OK) fail(what, TF_Message(status));
}

static TF_Output tensor_named(TF_Graph *graph, const char *name) {
  char operation[512];
  const char *colon = strrchr(name, ':');
  size_t length = colon ? (size_t)(colon - name) : strlen(name);
  if (length >= sizeof operation) fail("name too long", name);
  memcpy(operation, name, length);
  operation[length] = 0;
  TF_Output output = {TF_GraphOperationByName(graph, operation), colon ? atoi(colon + 1) : 0};
  if (!output.oper) fail("no such tensor", name);
  return output;
}

static TF_DataType type_named(const char *name) {
  if (!strcmp(name, "float32")) return TF_FLOAT;
  if (!strcmp(name, "float64")) return TF_DOUBLE;
  if (!strcmp(name, "int32")) return TF_INT32;
  fail("type is float32, float64 or int32, not", name);
  return TF_FLOAT;
}

static const char *name_of(TF_DataType type) {
  return type == TF_FLOAT ? "float32" : type == TF_DOUBLE ? "float64" : type == TF_INT32 ? "int32" : type == TF_BOOL ? "bool" : "other";
}

static TF_Tensor *read_tensor(TF_DataType type, int rank, const int64_t *dims, const char *path) {
  size_t count = 1;
  for (int i = 0; i < rank; i++) count *= (size_t)dims[i];
  TF_Tensor *tensor = TF_AllocateTensor(type, dims, rank, count * TF_DataTypeSize(type));
  FILE *file = fopen(path, "rb");
  if (!file) fail("cannot read", path);
  if (fread(TF_TensorData(tensor), TF_DataTypeSize(type), count, file) != count) fail("file is too short", path);
  if (fgetc(file) != EOF) fail("file is too long: of another type or shape?", path);
  fclose(file);
  return tensor;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int rising(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  if (argc < 3) fail("usage", "reader DIR REPEATS in TENSOR TYPE RANK DIM... FILE ... out TENSOR FILE ...");
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status, "cannot load the SavedModel");

  TF_Output inputs[MOST], outputs[MOST];
  TF_Tensor *fed[MOST], *fetched[MOST];
  const char *files[MOST];
  int n_in = 0, n_out = 0, repeats = atoi(argv[2]) > 0 ? atoi(argv[2]) : 0;
  for (int i = 3; i < argc;) {
    if (!strcmp(argv[i], "in") && i + 3 < argc && n_in < MOST) {
      int64_t dims[8];
      int rank = atoi(argv[i + 3]);
      if (rank < 0 || rank > 8 || i + 4 + rank >= argc) fail("bad rank", argv[i + 3]);
      for (int k = 0; k < rank; k++) dims[k] = atoll(argv[i + 4 + k]);
      inputs[n_in] = tensor_named(graph, argv[i + 1]);
      fed[n_in++] = read_tensor(type_named(argv[i + 2]), rank, dims, argv[i + 4 + rank]);
      i += 5 + rank;
    } else if (!strcmp(argv[i], "out") && i + 2 < argc && n_out < MOST) {
      outputs[n_out] = tensor_named(graph, argv[i + 1]);
      files[n_out++] = argv[i + 2];
      i += 3;
    } else {
      fail("unexpected argument, or one tensor too many", argv[i]);
    }
  }

  double *seconds = calloc((size_t)(repeats > 0 ? repeats : 1), sizeof *seconds);
  for (int run = -1; run < repeats; run++) {
    double begun = now();
    TF_SessionRun(session, NULL, inputs, fed, n_in, outputs, fetched, n_out, NULL, 0, NULL, status);
    check(status, "the run failed");
    if (run >= 0) seconds[run] = now() - begun;
    if (run + 1 < repeats)
      for (int k = 0; k < n_out; k++) TF_DeleteTensor(fetched[k]);
  }
  for (int k = 0; k < n_out; k++) {
    FILE *file = fopen(files[k], "wb");
    size_t size = TF_TensorByteSize(fetched[k]);
    if (!file || fwrite(TF_TensorData(fetched[k]), 1, size, file) != size || fclose(file)) fail("cannot write", files[k]);
    printf("%s", name_of(TF_TensorType(fetched[k])));
    for (int d = 0; d < TF_NumDims(fetched[k]); d++) printf(" %lld", (long long)TF_Dim(fetched[k], d));
    printf(" %s\n", files[k]);
    TF_DeleteTensor(fetched[k]);
  }
  if (repeats > 0) {
    qsort(seconds, (size_t)repeats, sizeof *seconds, rising);
    printf("median %.9f s of %d runs\n", seconds[repeats / 2], repeats);
  }
  for (int k = 0; k < n_in; k++) TF_DeleteTensor(fed[k]);
  free(seconds);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
