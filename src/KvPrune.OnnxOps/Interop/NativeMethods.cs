using System.Runtime.InteropServices;

namespace KvPrune.OnnxOps.Interop;

/// <summary>The C ABI of api/kvprune.h, one to one. Callers go through <see cref="NativeLibraryFile.EnsureLoaded"/> first.</summary>
internal static unsafe partial class NativeMethods
{
    public const string Library = "kvprune";
    public const uint AbiVersion = 3;

    [LibraryImport(Library)]
    public static partial uint kvp_abi_version();

    [LibraryImport(Library)]
    public static partial byte* kvp_last_error();

    [LibraryImport(Library)]
    public static partial byte* kvp_kernels();

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial KvCacheStatus kvp_use_kernels(string? name);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_manager_create(in NativeModelShape shape, long byteLimit, out nint manager);

    [LibraryImport(Library)]
    public static partial void kvp_manager_destroy(nint manager);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_manager_id(ManagerHandle manager, out long id);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_manager_get_statistics(ManagerHandle manager, out KvCacheStatistics statistics);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_manager_set_output_gram(
        ManagerHandle manager, int layer, ReadOnlySpan<float> gram, long count);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_estimate_bytes(
        in NativeModelShape shape,
        in NativePolicy policy,
        long promptTokens,
        long generatedTokens,
        long chunkTokens,
        long probeTokens,
        out KvBytesEstimate estimate);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_sequence_create(ManagerHandle manager, in NativePolicy policy, out long sequence);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_sequence_release(long sequence);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_sequence_fork(long sequence, out long fork);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_sequence_get_info(long sequence, out KvSequenceInfo info);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_sequence_get_head(long sequence, int layer, int kvHead, out KvHeadInfo info);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_sequence_open_segment(long sequence, long tokens);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_sequence_open_deferred_segment(
        long sequence, long tokens, ReadOnlySpan<NativePolicy> policies, int policyCount, long probeTokens);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_sequence_fill(
        long sequence, int layer, long tokens, float* keys, float* values, float* queries, long queryTokens);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_sequence_seal_as(long sequence, in NativePolicy policy, out long @sealed);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_sequence_checkpoint(long sequence);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_sequence_rewind(long sequence, long length);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_sequence_read(
        long sequence, int layer, int kvHead, long rows, float* keys, float* values);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_sequence_kept(
        long sequence, int layer, int kvHead, long tokens, Span<byte> kept);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_step_begin(
        ReadOnlySpan<long> sequences, ReadOnlySpan<int> newTokens, int count);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_step_begin_probe(long sequence, int newTokens);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_step_commit(ReadOnlySpan<long> sequences, int count);

    [LibraryImport(Library)]
    public static partial KvCacheStatus kvp_step_rollback(ReadOnlySpan<long> sequences, int count);
}
