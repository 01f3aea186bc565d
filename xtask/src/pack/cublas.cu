// A replacement of cuBLAS for packs, which has half a gigabyte: only the functions that ggml's CUDA backend calls, with one
// kernel that computes each element of a product in one thread. Results are right and slow. Solving triangular systems is not
// supported, and ggml reports that as an error.

#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

struct cublasContext {
    cudaStream_t stream;
};

namespace {

// A matrix in columns, or a batch of them: at equal distances, or as a list of pointers in the device's memory.
struct matrix {
    const void * data;
    const void * const * list;
    long long stride;
    int ld;
    cudaDataType type;
    bool transposed;
};

struct sizes {
    int m;
    int n;
    int k;
};

struct factors {
    float alpha;
    float beta;
};

__device__ const void * start_of(const matrix & x, long long batch) {
    if (x.list) {
        return x.list[batch];
    }
    const size_t size = x.type == CUDA_R_32F ? 4 : 2;
    return static_cast<const char *>(x.data) + batch * x.stride * size;
}

__device__ float load(const void * data, cudaDataType type, long long at) {
    switch (type) {
        case CUDA_R_16F:  return __half2float(static_cast<const __half *>(data)[at]);
        case CUDA_R_16BF: return __bfloat162float(static_cast<const __nv_bfloat16 *>(data)[at]);
        default:          return static_cast<const float *>(data)[at];
    }
}

__device__ void store(void * data, cudaDataType type, long long at, float value) {
    switch (type) {
        case CUDA_R_16F:  static_cast<__half *>(data)[at] = __float2half(value); break;
        case CUDA_R_16BF: static_cast<__nv_bfloat16 *>(data)[at] = __float2bfloat16(value); break;
        default:          static_cast<float *>(data)[at] = value; break;
    }
}

__device__ long long place(const matrix & x, long long row, long long column) {
    return x.transposed ? column + row * x.ld : row + column * x.ld;
}

__global__ void multiply(sizes size, factors by, matrix a, matrix b, matrix c) {
    const long long row = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x;
    const long long column = blockIdx.y * static_cast<long long>(blockDim.y) + threadIdx.y;
    if (row >= size.m || column >= size.n) {
        return;
    }
    const long long batch = blockIdx.z;
    const void * left = start_of(a, batch);
    const void * right = start_of(b, batch);
    void * result = const_cast<void *>(start_of(c, batch));
    float sum = 0.0f;
    for (int i = 0; i < size.k; ++i) {
        sum += load(left, a.type, place(a, row, i)) * load(right, b.type, place(b, i, column));
    }
    const long long at = place(c, row, column);
    // What is multiplied by zero is not read: it may be anything.
    const float old = by.beta == 0.0f ? 0.0f : by.beta * load(result, c.type, at);
    store(result, c.type, at, by.alpha * sum + old);
}

float factor(const void * value, cublasComputeType_t type) {
    const bool is_half = type == CUBLAS_COMPUTE_16F || type == CUBLAS_COMPUTE_16F_PEDANTIC;
    return is_half ? __half2float(*static_cast<const __half *>(value)) : *static_cast<const float *>(value);
}

bool is_known(const matrix & x) {
    return x.type == CUDA_R_32F || x.type == CUDA_R_16F || x.type == CUDA_R_16BF;
}

cublasStatus_t run(cublasHandle_t handle, sizes size, factors by, matrix a, matrix b, matrix c, int batches) {
    if (!is_known(a) || !is_known(b) || !is_known(c) || batches > 65535) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    if (size.m <= 0 || size.n <= 0 || batches <= 0) {
        return CUBLAS_STATUS_SUCCESS;
    }
    const dim3 block(32, 8);
    const dim3 grid((size.m + block.x - 1) / block.x, (size.n + block.y - 1) / block.y, batches);
    if (grid.y > 65535) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    multiply<<<grid, block, 0, handle->stream>>>(size, by, a, b, c);
    return cudaGetLastError() == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

bool flips(cublasOperation_t operation) {
    return operation != CUBLAS_OP_N;
}

} // namespace

extern "C" {

cublasStatus_t cublasCreate(cublasHandle_t * handle) {
    *handle = new cublasContext{nullptr};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle) {
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t, void *, size_t) {
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) {
    return CUBLAS_STATUS_SUCCESS;
}

const char * cublasGetStatusString(cublasStatus_t status) {
    switch (status) {
        case CUBLAS_STATUS_SUCCESS:          return "success";
        case CUBLAS_STATUS_NOT_SUPPORTED:    return "not supported by the replacement of cuBLAS in this pack";
        case CUBLAS_STATUS_EXECUTION_FAILED: return "the kernel did not start";
        default:                             return "unknown";
    }
}

cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
        const float * alpha, const float * a, int lda, const float * b, int ldb, const float * beta, float * c, int ldc) {
    return run(handle, {m, n, k}, {*alpha, *beta}, {a, nullptr, 0, lda, CUDA_R_32F, flips(ta)},
        {b, nullptr, 0, ldb, CUDA_R_32F, flips(tb)}, {c, nullptr, 0, ldc, CUDA_R_32F, false}, 1);
}

cublasStatus_t cublasSgemmBatched(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
        const float * alpha, const float * const a[], int lda, const float * const b[], int ldb, const float * beta,
        float * const c[], int ldc, int batches) {
    const auto list = [](auto pointers) { return reinterpret_cast<const void * const *>(pointers); };
    return run(handle, {m, n, k}, {*alpha, *beta}, {nullptr, list(a), 0, lda, CUDA_R_32F, flips(ta)},
        {nullptr, list(b), 0, ldb, CUDA_R_32F, flips(tb)}, {nullptr, list(c), 0, ldc, CUDA_R_32F, false}, batches);
}

cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n,
        int k, const float * alpha, const float * a, int lda, long long stride_a, const float * b, int ldb,
        long long stride_b, const float * beta, float * c, int ldc, long long stride_c, int batches) {
    return run(handle, {m, n, k}, {*alpha, *beta}, {a, nullptr, stride_a, lda, CUDA_R_32F, flips(ta)},
        {b, nullptr, stride_b, ldb, CUDA_R_32F, flips(tb)}, {c, nullptr, stride_c, ldc, CUDA_R_32F, false}, batches);
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
        const void * alpha, const void * a, cudaDataType type_a, int lda, const void * b, cudaDataType type_b, int ldb,
        const void * beta, void * c, cudaDataType type_c, int ldc, cublasComputeType_t type, cublasGemmAlgo_t) {
    return run(handle, {m, n, k}, {factor(alpha, type), factor(beta, type)}, {a, nullptr, 0, lda, type_a, flips(ta)},
        {b, nullptr, 0, ldb, type_b, flips(tb)}, {c, nullptr, 0, ldc, type_c, false}, 1);
}

cublasStatus_t cublasGemmBatchedEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
        const void * alpha, const void * const a[], cudaDataType type_a, int lda, const void * const b[],
        cudaDataType type_b, int ldb, const void * beta, void * const c[], cudaDataType type_c, int ldc, int batches,
        cublasComputeType_t type, cublasGemmAlgo_t) {
    return run(handle, {m, n, k}, {factor(alpha, type), factor(beta, type)}, {nullptr, a, 0, lda, type_a, flips(ta)},
        {nullptr, b, 0, ldb, type_b, flips(tb)}, {nullptr, c, 0, ldc, type_c, false}, batches);
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n,
        int k, const void * alpha, const void * a, cudaDataType type_a, int lda, long long stride_a, const void * b,
        cudaDataType type_b, int ldb, long long stride_b, const void * beta, void * c, cudaDataType type_c, int ldc,
        long long stride_c, int batches, cublasComputeType_t type, cublasGemmAlgo_t) {
    return run(handle, {m, n, k}, {factor(alpha, type), factor(beta, type)},
        {a, nullptr, stride_a, lda, type_a, flips(ta)}, {b, nullptr, stride_b, ldb, type_b, flips(tb)},
        {c, nullptr, stride_c, ldc, type_c, false}, batches);
}

cublasStatus_t cublasStrsmBatched(cublasHandle_t, cublasSideMode_t, cublasFillMode_t, cublasOperation_t, cublasDiagType_t,
        int, int, const float *, const float * const[], int, float * const[], int, int) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
}

} // extern "C"
