namespace Dmb.Tests.Support;

/// <summary>A file with a name of its own, while it is needed.</summary>
public sealed class TemporaryFile : IDisposable
{
    public TemporaryFile(string text) => File.WriteAllText(Path, text);

    public string Path { get; } = System.IO.Path.Combine(System.IO.Path.GetTempPath(), $"dmb-{Guid.NewGuid():N}");

    public void Dispose() => File.Delete(Path);
}
