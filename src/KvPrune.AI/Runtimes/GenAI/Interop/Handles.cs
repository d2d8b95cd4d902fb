using System.Runtime.InteropServices;

namespace KvPrune.AI.Runtimes.GenAI.Interop;

/// <summary>Owns an object of the native library. Each of them keeps alive what it needs, so any order of release is right.</summary>
internal abstract class GenAIHandle() : SafeHandle(invalidHandleValue: 0, ownsHandle: true)
{
    public override bool IsInvalid => handle == 0;

    protected sealed override bool ReleaseHandle()
    {
        Destroy(handle);
        return true;
    }

    protected abstract void Destroy(nint native);
}

/// <summary>Owns an OgaConfig.</summary>
internal sealed class ConfigHandle : GenAIHandle
{
    protected override void Destroy(nint native) => NativeMethods.OgaDestroyConfig(native);
}

/// <summary>Owns an OgaModel.</summary>
internal sealed class ModelHandle : GenAIHandle
{
    protected override void Destroy(nint native) => NativeMethods.OgaDestroyModel(native);
}

/// <summary>Owns OgaGeneratorParams.</summary>
internal sealed class GeneratorParamsHandle : GenAIHandle
{
    protected override void Destroy(nint native) => NativeMethods.OgaDestroyGeneratorParams(native);
}

/// <summary>Owns an OgaGenerator.</summary>
internal sealed class GeneratorHandle : GenAIHandle
{
    protected override void Destroy(nint native) => NativeMethods.OgaDestroyGenerator(native);
}

/// <summary>Owns an OgaTensor.</summary>
internal sealed class TensorHandle : GenAIHandle
{
    protected override void Destroy(nint native) => NativeMethods.OgaDestroyTensor(native);
}

/// <summary>Owns OgaSequences.</summary>
internal sealed class SequencesHandle : GenAIHandle
{
    protected override void Destroy(nint native) => NativeMethods.OgaDestroySequences(native);
}

/// <summary>Owns an OgaTokenizer.</summary>
internal sealed class TokenizerHandle : GenAIHandle
{
    protected override void Destroy(nint native) => NativeMethods.OgaDestroyTokenizer(native);
}

/// <summary>Owns an OgaTokenizerStream.</summary>
internal sealed class TokenizerStreamHandle : GenAIHandle
{
    protected override void Destroy(nint native) => NativeMethods.OgaDestroyTokenizerStream(native);
}

/// <summary>Owns a text that the native library made.</summary>
internal sealed class TextHandle : GenAIHandle
{
    public override string ToString() => Marshal.PtrToStringUTF8(handle) ?? "";

    protected override void Destroy(nint native) => NativeMethods.OgaDestroyString(native);
}
