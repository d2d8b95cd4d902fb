using KvPrune.OnnxOps.Tests.Ops;

namespace KvPrune.OnnxOps.Tests.Interop;

[Collection(KernelChoice.Name)]
public class NativeLibraryTests
{
    [Fact]
    public void Kernels_are_chosen_by_name_and_null_restores_the_best()
    {
        var best = KvPruneOps.Kernels;
        KvPruneOps.UseKernels("scalar");
        Assert.Equal("scalar", KvPruneOps.Kernels);
        Fails.With(KvCacheStatus.Unsupported, () => KvPruneOps.UseKernels("sse9"), "sse9");
        Assert.Equal("scalar", KvPruneOps.Kernels);
        KvPruneOps.UseKernels(null);
        Assert.Equal(best, KvPruneOps.Kernels);
    }

    [Fact]
    public void The_library_lies_beside_the_assembly_and_the_process_has_one_image_of_it()
    {
        using var model = new PrunedAttentionModel(new(2, 1, 16)); // P/Invoke and ONNX Runtime have both loaded it
        var images = File.ReadLines("/proc/self/maps")
            .Where(line => line.EndsWith("/libkvprune.so", StringComparison.Ordinal))
            .Select(line => line[line.IndexOf('/', StringComparison.Ordinal)..])
            .Distinct();

        Assert.Equal([Path.Combine(AppContext.BaseDirectory, "libkvprune.so")], images);
    }

    [Fact]
    public void Registering_needs_options() =>
        Assert.Throws<ArgumentNullException>(() => KvPruneOps.Register(null!));
}
