namespace Dmb.Tests.Access;

/// <summary>A file of keys in a directory of its own, which goes with it.</summary>
internal sealed class KeysFile : IAsyncDisposable
{
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("dmb-keys");

    public string Path => System.IO.Path.Combine(_directory.FullName, "keys");

    public static async Task<KeysFile> WriteAsync(string text)
    {
        var file = new KeysFile();
        await file.SetAsync(text);
        return file;
    }

    public Task SetAsync(string text) => File.WriteAllTextAsync(Path, text);

    public void Delete() => File.Delete(Path);

    public ValueTask DisposeAsync()
    {
        _directory.Delete(recursive: true);
        return ValueTask.CompletedTask;
    }
}
