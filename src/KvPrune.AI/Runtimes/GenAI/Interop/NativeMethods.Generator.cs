using System.Runtime.InteropServices;

namespace KvPrune.AI.Runtimes.GenAI.Interop;

/// <summary>Generator, its parameters and its tensors.</summary>
internal static unsafe partial class NativeMethods
{
    [LibraryImport(Library)]
    public static partial nint OgaCreateGeneratorParams(ModelHandle model, out GeneratorParamsHandle parameters);

    [LibraryImport(Library)]
    public static partial void OgaDestroyGeneratorParams(nint parameters);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint OgaGeneratorParamsSetSearchNumber(GeneratorParamsHandle parameters, string name, double value);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint OgaGeneratorParamsSetSearchBool(
        GeneratorParamsHandle parameters, string name, [MarshalAs(UnmanagedType.U1)] bool value);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint OgaGeneratorParamsSetGuidance(
        GeneratorParamsHandle parameters, string kind, string grammar, [MarshalAs(UnmanagedType.U1)] bool fastForward);

    [LibraryImport(Library)]
    public static partial nint OgaCreateGenerator(ModelHandle model, GeneratorParamsHandle parameters, out GeneratorHandle generator);

    [LibraryImport(Library)]
    public static partial void OgaDestroyGenerator(nint generator);

    /// <summary>Once, before the first tokens; every run reads the tensor's memory anew.</summary>
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint OgaGenerator_SetModelInput(GeneratorHandle generator, string name, TensorHandle tensor);

    [LibraryImport(Library)]
    public static partial nint OgaGenerator_AppendTokens(GeneratorHandle generator, ReadOnlySpan<int> tokens, nuint count);

    [LibraryImport(Library)]
    public static partial nuint OgaGenerator_TokenCount(GeneratorHandle generator);

    [LibraryImport(Library)]
    public static partial nint OgaGenerator_GenerateNextToken(GeneratorHandle generator);

    /// <summary>The tokens belong to the generator.</summary>
    [LibraryImport(Library)]
    public static partial nint OgaGenerator_GetNextTokens(GeneratorHandle generator, out int* tokens, out nuint count);

    [LibraryImport(Library)]
    public static partial nint OgaGenerator_RewindTo(GeneratorHandle generator, nuint length);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint OgaGenerator_SetRuntimeOption(GeneratorHandle generator, string key, string value);

    [LibraryImport(Library)]
    public static partial nint OgaGenerator_GetLogits(GeneratorHandle generator, out TensorHandle logits);

    /// <summary>A copy. The name must be one of the graph's outputs: others are not checked.</summary>
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint OgaGenerator_GetOutput(GeneratorHandle generator, string name, out TensorHandle output);

    /// <summary>Reads and writes <paramref name="data"/> itself, which must stay where it is as long as the tensor is used.</summary>
    [LibraryImport(Library)]
    public static partial nint OgaCreateTensorFromBuffer(
        void* data, ReadOnlySpan<long> shape, nuint rank, TensorElement element, out TensorHandle tensor);

    [LibraryImport(Library)]
    public static partial void OgaDestroyTensor(nint tensor);

    /// <summary>The data belongs to the tensor.</summary>
    [LibraryImport(Library)]
    public static partial nint OgaTensorGetData(TensorHandle tensor, out void* data);
}
